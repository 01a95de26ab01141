//! The encoding of names that are not UTF-8, as Windows and older tools write them into archives.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{BIG5, EUC_JP, EUC_KR, GBK, SHIFT_JIS, WINDOWS_1252};

/// The upper half of code page 437, which is what the zip format itself names.
const CP437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀\
                     αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";
const CP437_LABEL: &str = "cp437";

/// An encoding in which every ASCII character stands for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Of DOS, and of the zip format.
    Cp437,
    /// Of the web, which has those of Windows; `Shift_JIS` is code page 932.
    Web(&'static encoding_rs::Encoding),
}

impl Encoding {
    /// The encoding that an archive's names are most likely in. The same names always give the same encoding.
    ///
    /// The detector is made for pages, and names are short: an accented letter of DOS and the ASCII letter behind it are
    /// one character of code page 932. So its answer is taken only where the names become words by it.
    pub(crate) fn guess(names: &[Vec<u8>]) -> Self {
        let text = names.join(&b'\n');
        let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
        detector.feed(&text, true);
        let guess = detector.guess(None, Utf8Detection::Deny);
        let of_guess = decode(guess, &text);
        let makes_words = of_guess.as_deref().is_some_and(is_words);
        let has_only_letters_of_latin_1 = text.iter().all(|byte| byte.is_ascii() || *byte >= 0xc0);
        let japanese = decode(SHIFT_JIS, &text).filter(|text| is_japanese(text));
        match japanese {
            Some(_) if guess == SHIFT_JIS => return Self::Web(SHIFT_JIS),
            Some(text) if !(text.chars().any(is_half_width) || has_only_letters_of_latin_1 && makes_words) => {
                return Self::Web(SHIFT_JIS);
            }
            _ => {}
        }
        let asian = [SHIFT_JIS, EUC_JP, GBK, BIG5];
        let syllables = syllables_of_korean(&text);
        if !asian.contains(&guess) && (syllables > 1 && !has_only_letters_of_latin_1 || syllables > 0 && !makes_words) {
            return Self::Web(EUC_KR);
        }
        let is_western = of_guess.as_deref().is_some_and(|text| !text.chars().any(is_beyond_latin));
        if makes_words && !is_western && guess != SHIFT_JIS {
            return Self::Web(guess);
        }
        if text.iter().all(|byte| is_letter_of_cp437(*byte)) && !has_only_letters_of_latin_1 {
            return Self::Cp437;
        }
        if decode(WINDOWS_1252, &text).as_deref().is_some_and(is_words) {
            return Self::Web(WINDOWS_1252);
        }
        if makes_words && guess != SHIFT_JIS { Self::Web(guess) } else { Self::Cp437 }
    }

    /// The encoding of this label.
    pub(crate) fn of_label(label: &str) -> Option<Self> {
        if label == CP437_LABEL {
            return Some(Self::Cp437);
        }
        encoding_rs::Encoding::for_label(label.as_bytes()).map(Self::Web)
    }

    /// A name that [`Encoding::of_label`] knows.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Cp437 => CP437_LABEL,
            Self::Web(encoding) => encoding.name(),
        }
    }

    /// What these bytes say. What is malformed becomes U+FFFD.
    pub(crate) fn decode(self, bytes: &[u8]) -> String {
        match self {
            Self::Web(encoding) => encoding.decode_without_bom_handling(bytes).0.into_owned(),
            Self::Cp437 => bytes.iter().map(|byte| of_cp437(*byte)).collect(),
        }
    }
}

fn of_cp437(byte: u8) -> char {
    let upper = byte.checked_sub(0x80).and_then(|at| CP437.chars().nth(at.into()));
    upper.unwrap_or_else(|| byte.into())
}

fn decode(encoding: &'static encoding_rs::Encoding, bytes: &[u8]) -> Option<String> {
    let (text, is_malformed) = encoding.decode_without_bom_handling(bytes);
    (!is_malformed).then(|| text.into_owned())
}

/// Whether all that is not ASCII are letters.
fn is_words(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii() || c.is_alphabetic())
}

const fn is_letter_of_cp437(byte: u8) -> bool {
    byte.is_ascii() || matches!(byte, 0x80..=0x9a | 0xa0..=0xa5 | 0xe1)
}

/// Whether this is a letter of a script other than Latin.
fn is_beyond_latin(c: char) -> bool {
    c >= '\u{370}' && c.is_alphabetic()
}

/// How many syllables of Korean there are, if all that is not ASCII is one of the 2,350 that code page 949 begins with.
/// Letters of other scripts seldom stand in such pairs.
fn syllables_of_korean(text: &[u8]) -> usize {
    let words = text.split(u8::is_ascii);
    let is_syllable = |pair: &[u8]| matches!(pair, [0xb0..=0xc8, 0xa1..=0xfe]);
    let count = |word: &[u8]| word.chunks(2).all(is_syllable).then_some(word.len() / 2);
    words.map(count).sum::<Option<usize>>().unwrap_or_default()
}

/// Whether all that is not ASCII is Japanese, and more of it in words than alone beside an ASCII letter: such a character
/// would be an accented letter within a word, and the letter behind it.
fn is_japanese(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    let is_wide = |at: usize| chars.get(at).is_some_and(|c| !c.is_ascii());
    let is_letter = |at: usize| chars.get(at).is_some_and(char::is_ascii_alphabetic);
    let (mut in_words, mut beside_letters) = (0, 0);
    for at in (0..chars.len()).filter(|at| is_wide(*at)) {
        if !is_full_width(chars[at]) && !is_half_width(chars[at]) {
            return false;
        }
        let before = at.checked_sub(1);
        if before.is_some_and(is_wide) || is_wide(at + 1) {
            in_words += 1;
        } else if before.is_some_and(is_letter) || is_letter(at + 1) {
            beside_letters += 1;
        }
    }
    text.chars().any(is_full_width) && in_words >= beside_letters
}

/// Punctuation, kana, ideographs, and the wide forms of ASCII.
fn is_full_width(c: char) -> bool {
    matches!(c, '\u{3000}'..='\u{30ff}' | '\u{4e00}'..='\u{9fff}' | '\u{ff01}'..='\u{ff60}')
}

fn is_half_width(c: char) -> bool {
    matches!(c, '\u{ff61}'..='\u{ff9f}')
}

#[cfg(test)]
mod tests {
    use encoding_rs::{IBM866, WINDOWS_1251};

    use super::*;

    fn to_cp437(name: &str) -> Option<Vec<u8>> {
        let byte = |c: char| {
            let upper = CP437.chars().position(|known| known == c).map(|at| u8::try_from(at + 0x80).unwrap());
            if c.is_ascii() { u8::try_from(c).ok() } else { upper }
        };
        name.chars().map(byte).collect()
    }

    fn read_back(names: &[Vec<u8>]) -> (&'static str, Vec<String>) {
        let encoding = Encoding::guess(names);
        assert_eq!(Encoding::of_label(encoding.label()), Some(encoding));
        (encoding.label(), names.iter().map(|name| encoding.decode(name)).collect())
    }

    #[test]
    fn names_are_read_as_those_who_wrote_them_meant_even_if_there_is_one() {
        let japanese = ["画像/表.png", "表.csv", "データ.csv", "馬.png", "設定.yaml", "日本語.txt", "結果1/表a.txt"];
        let western = [
            "données.csv",
            "Größe.csv",
            "München.txt",
            "Köln.py",
            "café.txt",
            "été.csv",
            "für_x.csv",
            "Ärger.txt",
            "niño.csv",
            "résumé/é.txt",
            "naïve.csv",
            "Ü.csv",
            "übung/lösung.py",
        ];
        let web = |encoding: &'static encoding_rs::Encoding, name: &str| Some(encoding.encode(name).0.into_owned());
        let of_japanese = japanese.map(|name| (name, web(SHIFT_JIS, name), "Shift_JIS"));
        let of_latin_1 = western.map(|name| (name, web(WINDOWS_1252, name), "windows-1252"));
        let of_dos = western.map(|name| (name, to_cp437(name), "cp437"));
        let others = [
            ("图像/标签.txt", web(GBK, "图像/标签.txt"), "GBK"),
            ("данные.csv", web(WINDOWS_1251, "данные.csv"), "windows-1251"),
            ("данные.csv", web(IBM866, "данные.csv"), "IBM866"),
        ];
        let mut wrong = Vec::new();
        for (name, bytes, label) in of_japanese.into_iter().chain(of_latin_1).chain(of_dos).chain(others) {
            let (found, names) = read_back(&[bytes.unwrap()]);
            if (found, names[0].as_str()) != (label, name) {
                wrong.push(format!("{name} in {label}: {} in {found}", names[0]));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn korean_names_are_read_as_they_were_meant() {
        let names = [
            "데이터.csv",
            "결과.csv",
            "한글.txt",
            "설정.yaml",
            "학습데이터/이미지.png",
            "모델.py",
            "새 폴더/메인.py",
            "훈련_코드.py",
            "이미지 1.png",
            "최종본(2).zip",
            "가.csv",
            "보고서.txt",
            "테스트/라벨.csv",
            "분석결과_최종.csv",
            "사진/강아지01.jpg",
        ];
        let bytes = names.map(|name| EUC_KR.encode(name).0.into_owned());
        let mut wrong = Vec::new();
        for (name, bytes) in names.iter().zip(&bytes) {
            let (label, found) = read_back(std::slice::from_ref(bytes));
            if (label, found[0].as_str()) != ("EUC-KR", *name) {
                wrong.push(format!("{name}: {} in {label}", found[0]));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(read_back(&bytes).0, "EUC-KR");
    }

    #[test]
    fn names_that_no_encoding_makes_words_of_are_read_all_the_same() {
        let (label, names) = read_back(&[b"\xff\xfe.txt".to_vec(), b"\xb0\xdb".to_vec()]);
        assert_eq!((label, names.len()), ("cp437", 2), "{names:?}");
    }
}
