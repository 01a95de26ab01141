//! The members of a gzip file, one after the other, as one stream.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

use super::refusal::refuse;

/// Inflates all members of a file to its very end. Zeros behind the last member are padding; anything else is refused.
pub(super) struct Members<R> {
    /// `None` at the end.
    state: Option<State<R>>,
    has_member: bool,
}

enum State<R> {
    Between(R),
    Within(Box<GzDecoder<R>>),
}

impl<R: BufRead> Members<R> {
    pub(super) const fn new(inner: R) -> Self {
        Self { state: Some(State::Between(inner)), has_member: false }
    }

    /// What comes next. `None` at the end.
    fn next_member(&mut self, mut inner: R) -> io::Result<Option<State<R>>> {
        if self.has_member {
            skip_zeros(&mut inner)?;
        }
        match inner.fill_buf()? {
            [] if self.has_member => Ok(None),
            [0x1f, ..] => {
                self.has_member = true;
                Ok(Some(State::Within(Box::new(GzDecoder::new(inner)))))
            }
            _ if self.has_member => {
                refuse("has bytes behind its end that are not gzip. Make the archive anew".to_owned())
            }
            _ => refuse("is not a .tar.gz: it does not begin as gzip does. Make the archive anew".to_owned()),
        }
    }
}

fn skip_zeros(inner: &mut impl BufRead) -> io::Result<()> {
    loop {
        let zeros = inner.fill_buf()?.iter().take_while(|byte| **byte == 0).count();
        if zeros == 0 {
            return Ok(());
        }
        inner.consume(zeros);
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.state.take() {
                None => return Ok(0),
                Some(State::Between(inner)) => self.state = self.next_member(inner)?,
                Some(State::Within(mut decoder)) => {
                    let read = decoder.read(buffer)?;
                    if read > 0 || buffer.is_empty() {
                        self.state = Some(State::Within(decoder));
                        return Ok(read);
                    }
                    self.state = Some(State::Between(decoder.into_inner()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn member(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn inflate(bytes: &[u8]) -> Result<String, String> {
        let mut text = String::new();
        Members::new(bytes).read_to_string(&mut text).map_err(|error| error.to_string())?;
        Ok(text)
    }

    #[test]
    fn all_members_are_read_and_padding_is_passed_over() {
        let two = [member(b"one "), member(b""), member(b"two")].concat();
        assert_eq!(inflate(&two).unwrap(), "one two");
        assert_eq!(inflate(&[&two[..], &vec![0; 20_000]].concat()).unwrap(), "one two");
    }

    #[test]
    fn what_is_damaged_or_no_gzip_is_refused() {
        let whole = member(b"some content");
        let mut wrong_sum = whole.clone();
        let at = wrong_sum.len() - 8;
        wrong_sum[at] ^= 1;
        for (bytes, why) in [
            (b"".to_vec(), "not a .tar.gz"),
            (b"PK\x03\x04".to_vec(), "not a .tar.gz"),
            ([&whole[..], b"garbage"].concat(), "behind its end"),
            ([&whole[..], &[0, 0], b"garbage"].concat(), "behind its end"),
            (whole[..whole.len() - 3].to_vec(), "unexpected end"),
            (wrong_sum, "checksum"),
        ] {
            let refusal = inflate(&bytes).unwrap_err();
            assert!(refusal.contains(why), "{refusal} instead of {why}");
        }
    }
}
