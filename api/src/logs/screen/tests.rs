//! What a terminal would show of logs, hostile ones among them.

use super::row::{FULL_BYTES, KEPT_BYTES};
use super::*;

/// What a terminal, which replaces its last line at a carriage return, shows in the end.
fn display(told: &str) -> String {
    let mut display = String::new();
    for c in told.chars() {
        match c {
            '\r' => display.truncate(display.rfind('\n').map_or(0, |at| at + 1)),
            c => display.push(c),
        }
    }
    display
}

fn all(log: &str) -> String {
    let mut screen = Screen::new();
    screen.write(log);
    screen.finish()
}

/// What a reader is told of a log that comes in these pieces.
fn followed(pieces: &[&str]) -> Vec<String> {
    let mut screen = Screen::new();
    let mut told: Vec<String> = Vec::new();
    for piece in pieces {
        screen.write(piece);
        told.push(screen.news());
    }
    told.push(screen.finish());
    told
}

/// Two bars as tqdm prints them: the inner one below the outer, and the cursor at the outer one in between.
fn nested(outer: u32, inner: u32) -> Vec<String> {
    let mut pieces = vec!["\r  0%|outer".to_owned()];
    for epoch in 1..=outer {
        for batch in 1..=inner {
            pieces.push(format!("\n\r{:3}%|inner\x1b[A", 100 * batch / inner));
        }
        pieces.push(format!("\r{:3}%|outer", 100 * epoch / outer));
    }
    pieces.push("\n\n".to_owned());
    pieces
}

#[test]
fn nested_bars_are_a_line_each() {
    let pieces = nested(3, 100);
    let log = format!("begin\n{}end\n", pieces.concat());
    assert_eq!(all(&log), "begin\n100%|outer\n100%|inner\nend\n");
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    let told = followed(&pieces);
    assert_eq!(display(&told.concat()), "100%|outer\n100%|inner\n");
    assert!(told[1..300].iter().all(|text| text.starts_with('\r') && !text.contains('\n')), "{:?}", &told[..4]);
}

#[test]
fn what_is_written_over_is_gone_and_what_is_not_stays() {
    for (log, shown) in [
        (" 10%\r 20%\r\r\ndone", " 20%\ndone"),
        ("a\r\x1b[Kb\n", "b\n"),
        ("old\x1b[2K\rnew", "new"),
        ("|\x08/\x08-\x08\\ done\x08\x08\n", "\\ done\n"),
        ("100\x08\x08\x08\x08\r 99\n", " 99\n"),
        ("one\ntwo\n\x1b[2A\x1b[Jthree\n", "three\n"),
        ("one\ntwo\x1b[FONE\x1b[Bx", "ONE\ntwox"),
        ("\x1b[9Atop\n", "top\n"),
        ("\x1b[31mred\x1b[0m\n", "\x1b[31mred\x1b[0m\n"),
        ("\x1b[31m1\r2\r\n3\x1b[0m", "\x1b[0m\x1b[31m2\n3\x1b[0m"),
        ("\x1b[1ma\x1b[0m\n1\r2\n", "\x1b[1ma\x1b[0m\n2\n"),
        ("nul\0 bell\x07 \x1b]0;title\x07\n", "nul bell \n"),
    ] {
        assert_eq!(all(log), shown, "{log:?}");
    }
}

#[test]
fn a_reader_ends_up_with_the_same_wherever_the_log_was_cut() {
    let log = "begin\r\n\r 1%\r 2%\r100%\nnext: \u{2713}\r\r\nlast\r\x1b[32mLAST\x1b[0m";
    let wanted = all(log);
    for (first, _) in log.char_indices() {
        for second in log.char_indices().map(|(at, _)| at).filter(|second| *second >= first) {
            let told = followed(&[&log[..first], &log[first..second], &log[second..]]).concat();
            assert_eq!(display(&told), wanted, "{first} {second}");
        }
    }
}

#[test]
fn bars_that_are_cut_amid_an_update_are_a_line_each() {
    let log = "begin\n\router\n\rinner 1\x1b[A\n\rinner 2\x1b[A\rOUTER\n\nnext\n";
    assert_eq!(all(log), "begin\nOUTER\ninner 2\nnext\n");
    for (cut, _) in log.char_indices() {
        let (first, second) = log.split_at(cut);
        assert_eq!(display(&followed(&[first, second]).concat()), all(log), "{cut}");
    }
}

#[test]
fn a_bar_that_is_done_is_held_only_once() {
    let mut screen = Screen::new();
    screen.write("\r 50%\r100%\n");
    assert_eq!(screen.news(), "100%");
    assert_eq!((screen.news().as_str(), screen.news().as_str()), ("\n", ""));
    screen.write("\r 50%\r100%\nnext");
    assert_eq!(screen.news(), "100%\nnext");
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let mut screen = Screen::new();
    for begin in ["x", "\r", "\x1b[A", "\n\x1b[A", "\x1b[1m", "\x08", "\n"] {
        for _ in 0..20 {
            screen.write(&begin.repeat(10_000));
            screen.news();
        }
        let kept: usize = screen.rows.iter().map(|row| row.text.len()).sum();
        assert!(kept <= ROWS * KEPT_BYTES + STYLE_BYTES && screen.rows.len() <= ROWS, "{begin:?}: {kept}");
    }
}

/// Inputs for which a scan of the whole line at each effect would cost minutes.
#[test]
fn a_long_line_of_many_effects_is_rendered_in_one_pass() {
    const BYTES: usize = 1 << 20;
    let begin = "y".repeat(BYTES / 2);
    let some = |piece: &str| piece.repeat(BYTES / 2 / piece.len());
    for (piece, shown) in [
        ("x\x1b[A", "x"),
        ("x\x07", "x"),
        ("x\u{202e}", "x"),
        ("x\x1b[K", "x"),
        ("x\x1b[0m", "x\x1b[0m"),
        ("\x1b[32Ax", "x"),
    ] {
        let wanted = begin.clone() + &shown.repeat(some(piece).len() / piece.len());
        assert!(all(&(begin.clone() + &some(piece))) == wanted, "{piece:?}");
    }
    let wanted = format!("{}x", &begin[1..]);
    assert!(all(&(begin.clone() + &some("\x08x"))) == wanted);
    let lines = "line\n".repeat(40);
    let rewritten = "x".repeat(some("\x1b[32Ax").len() / 6);
    let wanted = format!("{}{rewritten}\n{}", "line\n".repeat(9), "line\n".repeat(30));
    assert!(all(&(lines + &some("\x1b[32Ax"))) == wanted);
}

#[test]
fn a_style_is_remembered_as_long_as_its_text_stands() {
    for (log, shown) in [
        ("ab\x1b[1mc\x08d", "ab\x1b[1md"),
        ("ab\x1b[1mc\x08\x08d", "ab\x1b[1mcd"),
        ("\x1b[1ma\x1b[2K\rb\x08c\n", "\x1b[0m\x1b[1mc\n"),
        ("\x1b[1ma\r\x1b[Kb", "\x1b[0m\x1b[1mb"),
        ("\x1b[1ma\x1b[0m\r\x1b[Kb", "\x1b[0mb"),
        ("xa\x08\x1b[Kb", "xb"),
        ("xab\x1b[2D\x1b[Kc", "xc"),
        ("xab\x1b[9Dc", "c"),
        ("a\x1b[1m\nb\x1b[A\x08c", "a\x1b[1mc\nb"),
    ] {
        assert_eq!(all(log), shown, "{log:?}");
    }
}

/// Work is counted in steps, each of which is paid for by a byte of the log.
#[test]
fn the_work_is_in_proportion_to_the_log_whatever_it_does() {
    const BYTES: usize = 64 << 10;
    let wide = "\u{1f600}".repeat(BYTES / 8);
    // More characters than there are, and fewer than there are bytes.
    let far = format!("\x1b[{}D", BYTES / 4);
    let begins = [
        String::new(),
        wide.clone(),
        format!("\x1b[1m{wide}"),
        "\x1b[1my".repeat(BYTES / 10) + "\x1b[0m",
        "\n".repeat(BYTES / 2),
    ];
    let pieces = [
        "x",
        "\x1b[K",
        "\x1b[2K",
        "\x1b[J",
        "\rx",
        "\r",
        "\x08x",
        "\x08\x1b[K",
        "\x1b[1m\x08x",
        "\x1b[32A\x1b[J",
        "\x1b[32A",
        "\n\x1b[A",
        "\x1b[9B\r",
        "\x1b[1m\rx",
        "\u{1f600}\x08",
        "e\u{301}\x1b[2D",
        "\x1b[E\x1b[F",
        "\x1b[Gx",
        "\x1b]0;x\x07",
    ];
    for begin in &begins {
        for piece in pieces {
            for far in ["", &far] {
                let piece = format!("{far}{piece}");
                let rest = piece.repeat(BYTES / 2 / piece.len());
                let mut screen = Screen::new();
                screen.write(begin);
                screen.write(&rest);
                assert!(!screen.budget.is_spent(), "{:?} {piece:?}", &begin.get(..8));
                assert!(screen.finish().len() <= 8 * (begin.len() + rest.len()), "{piece:?}");
            }
        }
    }
}

#[test]
fn a_log_that_costs_too_much_is_shown_without_effects() {
    let style =
        "\x1b[1m\x1b[2m\x1b[3m\x1b[4m\x1b[7m\x1b[1m\x1b[2m\x1b[3m\x1b[4m\x1b[7m\x1b[1m\x1b[2m\x1b[3m\x1b[4m\x1b[7m";
    let log = format!("{style}{}\nend", "\rx".repeat(10_000));
    let shown = all(&log);
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines.len() == 2 && lines[0].ends_with("xxxxx") && lines[1] == "end", "{}", &shown[..200]);
    assert!(shown.len() < log.len() + 1000 && !lines[0].contains('\r'));
}

#[test]
fn a_line_that_is_too_long_is_written_over_behind_what_is_settled() {
    let mut screen = Screen::new();
    screen.write("above\n");
    let mut told = String::new();
    for _ in 0..40 {
        screen.write(&"x".repeat(FULL_BYTES / 16));
        assert!(screen.rows.iter().map(|row| row.text.len()).sum::<usize>() < FULL_BYTES);
        told.push_str(&screen.settled());
    }
    screen.write("\x1b[65535D\x1b[65535D\ry\x1b[2Kz\nbelow\x1b[A\r\x1b[AEND\n");
    told.push_str(&screen.finish());
    let wanted = format!("{}END\nbelow", "x".repeat(2 * FULL_BYTES));
    assert!(
        told.starts_with("above\nx") && !told.contains('\r') && told.ends_with(&wanted),
        "{:?} {}",
        &told[..9],
        &told[told.len() - 20..]
    );
}
