//! The text of a page of documentation.

use super::Text;

/// All of a page but the blocks of ```` ```console ````: those are what programs print. What ntpguard prints
/// is checked where it is made, and other programs have words of their own.
pub(super) fn texts(page: &str) -> Vec<Text> {
    let mut texts = vec![Text {
        line: 1,
        text: String::new(),
    }];
    let mut in_block = false;
    let mut is_output = false;
    for (number, line) in (1..).zip(page.lines()) {
        if line.starts_with("```") {
            in_block = !in_block;
            is_output = in_block && line == "```console";
            texts.push(Text {
                line: number + 1,
                text: String::new(),
            });
        } else if !is_output && let Some(text) = texts.last_mut() {
            text.text.push_str(line);
            text.text.push('\n');
        }
    }
    texts.retain(|text| !text.text.is_empty());
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_print_is_left_out_and_the_rest_keeps_its_lines() {
        let page = "one\n\n```console\n$ two\n```\nthree\n```toml\nfour\n```\n";
        let text = |line, text: &str| Text {
            line,
            text: text.to_owned(),
        };
        let expected = [text(1, "one\n\n"), text(6, "three\n"), text(8, "four\n")];
        assert_eq!(texts(page), expected);
    }
}
