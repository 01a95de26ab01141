//! Plain tables: no frames, so that they can be copied, cut and searched.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// How a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A table with these columns; rows are never wrapped, because an id cut in two is of no use.
pub(crate) fn render<const N: usize>(
    columns: [(&str, Align); N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    render_wide(&columns, rows)
}

/// As [`render`], for as many columns as there happen to be.
pub(crate) fn render_wide<R: IntoIterator<Item = String>>(
    columns: &[(&str, Align)],
    rows: impl IntoIterator<Item = R>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if columns.iter().any(|(title, _)| !title.is_empty()) {
        table.set_header(columns.iter().map(|(title, _)| title));
    }
    for row in rows {
        table.add_row(row);
    }
    for (index, (_, align)) in columns.iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 2));
            column.set_cell_alignment(match align {
                Align::Left => CellAlignment::Left,
                Align::Right => CellAlignment::Right,
            });
        }
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let rows = [["acc".to_owned(), "0.5".to_owned()], ["a".to_owned(), "12".to_owned()]];
        let text = render([("METRIC", Align::Left), ("VALUE", Align::Right)], rows);
        assert_eq!(text, "METRIC  VALUE\nacc       0.5\na          12");
    }
}
