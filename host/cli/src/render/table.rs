//! Tables: plain columns for our verbs, the original's boxes for its documents.

use comfy_table::{CellAlignment, ContentLineStyle, LineStyle, Table, TableStyle, presets};

/// Columns under headings, two blanks between them, no lines; `right` columns hold numbers.
pub(crate) fn columns(headings: &[&str], right: &[usize], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(headings.iter().copied());
    table.add_rows(rows);
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let drawn = table.to_string();
    let lines: Vec<&str> = drawn.lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// The lines of the original's tables.
const BOX: TableStyle = TableStyle::new()
    .top_border(LineStyle::new('+', '-', '+', '+'))
    .header_lines(ContentLineStyle::new('|', '|', '|'))
    .header_separator(LineStyle::new('+', '-', '+', '+'))
    .content_lines(ContentLineStyle::new('|', '|', '|'))
    .bottom_border(LineStyle::new('+', '-', '+', '+'));

/// The original's table: a box of `+`, `-` and `|`.
pub(crate) fn boxed<const N: usize>(headings: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(BOX).set_header(headings);
    rows.for_each(|row| {
        table.add_row(row);
    });
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_their_headings() {
        let rows = [
            vec!["etc".to_owned(), "12".to_owned()],
            vec!["longer".to_owned(), "7".to_owned()],
        ];
        assert_eq!(
            columns(&["NAME", "FILES"], &[1], &rows),
            "NAME    FILES\netc        12\nlonger      7"
        );
    }

    #[test]
    fn the_original_s_table_is_a_box() {
        let rows = [["backup name".to_owned(), "etc".to_owned()]];
        let expected = "+-------------+-------+\n| Property    | Value |\n+-------------+-------+\n\
                        | backup name | etc   |\n+-------------+-------+";
        assert_eq!(boxed(["Property", "Value"], rows.into_iter()), expected);
    }
}
