//! A report as one file: text, tables and charts, with nothing from elsewhere.

mod chart;

use std::fmt::Write;

use super::compare::{Change, Comparison, Verdict};
use super::{Cell, Figure, Report, Row, Section, Table};

const STYLE: &str = include_str!("style.css");

/// The page, which is well-formed as XML, too.
#[must_use]
pub fn page(report: &Report, comparison: Option<&Comparison>) -> String {
    let mut page = String::new();
    let title = "Ferrolev: benchmarks";
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
    );
    page.push_str(&machine(report));
    page.push_str(&expectations(report));
    comparison.iter().for_each(|comparison| page.push_str(&changes(comparison)));
    page.push_str(&contents(report));
    report.sections.iter().for_each(|of| page.push_str(&section(of, comparison)));
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn machine(report: &Report) -> String {
    let (pace, _) = report.pace.pieces();
    let kind = if report.quick { "quick" } else { "full" };
    let run = [("began", format!("{}, {kind}", report.began))].into_iter();
    let lines =
        run.chain(report.machine.lines()).chain([("pace", format!("{pace} for a fixed piece of work"))]);
    let mut list = String::from("<dl class=\"machine\">\n");
    for (name, value) in lines {
        let _ = writeln!(list, "<dt>{name}</dt><dd>{}</dd>", escaped(&value));
    }
    list + "</dl>\n<p class=\"key\">Medians; the spread, a thin line in charts, is the 10th to the 90th percentile. A green or red mark is the bound that is \
            expected, and a dashed one where the baseline stood. Only figures of one run can be held against each other: the \
            machine's pace changes from day to day.</p>\n"
}

/// What is expected, and was missed.
fn expectations(report: &Report) -> String {
    let expected = report.figures().filter(|(.., figure)| figure.expected.is_some()).count();
    let missed: Vec<_> = report.figures().filter(|(.., figure)| figure.is_met() == Some(false)).collect();
    let mut text = String::new();
    if expected > 0 {
        let _ = writeln!(text, "<p>{} of {expected} expected bounds are met.</p>", expected - missed.len());
    }
    if !missed.is_empty() {
        text.push_str("<ul class=\"list\">\n");
        for (section, table, row, column, figure) in missed {
            let place =
                [&section.title, &table.title, &row.name, &column.name].map(|part| escaped(part)).join(" · ");
            let (median, _) = figure.pieces();
            let bound = figure.bound().unwrap_or_default();
            let _ = writeln!(text, "<li>{place}: <b>{}</b> {}</li>", escaped(&median), escaped(&bound));
        }
        text.push_str("</ul>\n");
    }
    text
}

fn changes(comparison: &Comparison) -> String {
    let mut text = String::from("<h2>Against the baseline</h2>\n");
    for remark in &comparison.remarks {
        let _ = writeln!(text, "<p class=\"remark\">{}</p>", escaped(remark));
    }
    let _ = writeln!(text, "<p>{}.</p>", escaped(&comparison.summary()));
    text.push_str("<ul class=\"list\">\n");
    for verdict in [Verdict::Worse, Verdict::Better] {
        for change in comparison.changes.iter().filter(|change| change.verdict == verdict) {
            let _ = writeln!(text, "<li>{} {}</li>", chip(change), escaped(&change.place.to_string()));
        }
    }
    for gone in &comparison.gone {
        let _ = writeln!(text, "<li>gone: {}</li>", escaped(gone));
    }
    let _ = writeln!(text, "<li>{} figures are new.</li>\n</ul>", comparison.new);
    text
}

fn contents(report: &Report) -> String {
    let link = |section: &Section| {
        let (name, title) = (escaped(&section.name), escaped(&section.title));
        format!("<a href=\"#{name}\">{title}</a>\n")
    };
    format!("<nav>\n{}</nav>\n", report.sections.iter().map(link).collect::<String>())
}

fn section(section: &Section, comparison: Option<&Comparison>) -> String {
    let (name, title) = (escaped(&section.name), escaped(&section.title));
    let mut text = format!("<section id=\"{name}\">\n<h2>{title}</h2>\n");
    for paragraph in section.method.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        let _ = writeln!(text, "<p class=\"method\">{}</p>", escaped(paragraph));
    }
    if let Some(failed) = &section.failed {
        let _ = writeln!(text, "<p class=\"remark\">Not complete: {}</p>", escaped(failed));
    }
    for table in &section.tables {
        let change = |row: &str, column: &str| {
            comparison.and_then(|all| all.at(&section.name, &table.title, row, column))
        };
        text.push_str(&entries(table, change));
    }
    for note in &section.notes {
        let _ = writeln!(text, "<p>{}</p>", escaped(note));
    }
    if section.seconds > 0.0 {
        let _ = writeln!(text, "<p class=\"method\">It took {:.0} s.</p>", section.seconds);
    }
    text + "</section>\n"
}

fn entries<'c>(table: &Table, change: impl Fn(&str, &str) -> Option<&'c Change>) -> String {
    let mut text = format!("<h3>{}</h3>\n", escaped(&table.title));
    text.push_str(&chart::chart(table, &change).unwrap_or_default());
    text.push_str("<div class=\"scroll\"><table>\n<thead><tr>");
    for column in &table.columns {
        let _ = write!(text, "<th>{}</th>", escaped(&column.name));
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for Row { name, cells } in &table.rows {
        let _ = write!(text, "<tr><th>{}</th>", escaped(name));
        for (column, cell) in table.columns.iter().skip(1).zip(cells) {
            match cell {
                Cell::Text(cell) => _ = write!(text, "<td>{}</td>", escaped(cell)),
                Cell::Figure(of) => text.push_str(&figure(of, change(name, &column.name))),
            }
        }
        text.push_str("</tr>\n");
    }
    text + "</tbody>\n</table></div>\n"
}

fn figure(figure: &Figure, change: Option<&Change>) -> String {
    let (median, _) = figure.pieces();
    let mut cell = format!("<td class=\"figure\"><b>{}</b>", escaped(&median));
    if let Some(spread) = figure.spread() {
        let _ = write!(cell, " <span class=\"spread\">{spread}</span>");
    }
    if let Some(bound) = figure.bound() {
        let class = if figure.is_met() == Some(false) { "missed" } else { "met" };
        let _ = write!(cell, " <span class=\"{class}\">{}</span>", escaped(&bound));
    }
    if let Some(change) = change {
        let _ = write!(cell, " {}", chip(change));
    }
    cell + "</td>"
}

fn chip(change: &Change) -> String {
    let class = match change.verdict {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::Noise => "noise",
    };
    let (median, _) = change.before.pieces();
    let title = format!("before: {median}; noise up to {}", change.noise());
    let (title, change) = (escaped(&title), escaped(&change.change()));
    let word = if class == "noise" { String::new() } else { format!(" {class}") };
    format!("<span class=\"chip {class}\" title=\"{title}\">{change}{word}</span>")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::example;
    use super::*;

    fn parsed<R>(page: &str, look: impl FnOnce(&roxmltree::Document<'_>) -> R) -> R {
        let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
        look(&roxmltree::Document::parse_with_options(page, options).expect("well-formed"))
    }

    fn texts(document: &roxmltree::Document<'_>, tag: &str) -> Vec<String> {
        let of_tag = document.descendants().filter(|node| node.has_tag_name(tag));
        let text = |node: roxmltree::Node<'_, '_>| {
            node.descendants().filter(|node| node.is_text()).filter_map(|node| node.text()).collect()
        };
        of_tag.map(text).collect()
    }

    #[test]
    fn the_page_is_well_formed_and_says_what_the_report_says() {
        parsed(&page(&example(), None), |document| {
            assert!(texts(document, "th").contains(&"not for a vip <&>".to_owned()));
            assert!(texts(document, "td").contains(&"35.2 ns 33 to 38 [<= 30 missed]".to_owned()));
            assert!(texts(document, "dd").contains(&"A processor, 2 cores".to_owned()));
            assert!(texts(document, "p").contains(&"Not fair to anybody.".to_owned()));
            assert!(texts(document, "p").contains(&"1 of 2 expected bounds are met.".to_owned()));
            assert!(texts(document, "p").contains(&"A million flows cost 1.1 times one.".to_owned()));
        });
    }

    #[test]
    fn nothing_comes_from_elsewhere() {
        let page = page(&example(), Some(&Comparison::of(&example(), &example())));
        for word in ["<script", "<link", "http:", "https:", "url(", "@import", "src="] {
            assert!(!page.contains(word), "{word}");
        }
    }

    #[test]
    fn a_comparison_marks_each_figure() {
        let mut baseline = example();
        let Cell::Figure(net) = &mut baseline.sections[0].tables[0].rows[0].cells[0] else {
            panic!("a figure")
        };
        (net.low, net.median, net.high) = (20.0, 20.0, 20.0);
        let comparison = Comparison::of(&example(), &baseline);
        parsed(&page(&example(), Some(&comparison)), |document| {
            let chips = texts(document, "span");
            assert!(chips.contains(&"+76.2 % worse".to_owned()), "{chips:?}");
            assert!(chips.contains(&"+0.0 %".to_owned()), "{chips:?}");
        });
    }

    #[test]
    fn a_section_that_failed_says_why() {
        let mut report = example();
        report.sections[0].failed = Some("no <root>".to_owned());
        parsed(&page(&report, None), |document| {
            assert!(texts(document, "p").contains(&"Not complete: no <root>".to_owned()));
        });
    }
}
