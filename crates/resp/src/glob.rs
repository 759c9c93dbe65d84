//! This file answers: does a name match a pattern, as in CONFIG GET and COMMAND LIST?
//!
//! `*` any bytes, `?` one, `[a-c]` `[^a]` one of a class, `\` the next as it is; letter case does not matter. Redis'
//! own matcher recurses at each `*` and can be made to run for ever; this one takes at most pattern times name steps.

/// Whether the whole of `name` matches `pattern`.
pub fn matches_ignoring_case(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // behind the last `*`, and where in the name its match ends so far
    let mut star = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            star = Some((p, n));
        } else if n == name.len() {
            return p == pattern.len();
        } else if let Some(taken) = match_one(&pattern[p..], name[n]) {
            p += taken;
            n += 1;
        } else if let Some((behind, end)) = star {
            (p, n) = (behind, end + 1);
            star = Some((behind, end + 1));
        } else {
            return false;
        }
    }
}

/// How much of the pattern the byte takes, if it matches.
fn match_one(pattern: &[u8], byte: u8) -> Option<usize> {
    let same = |a: u8| a.eq_ignore_ascii_case(&byte);
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', class @ ..] => match_class(class, byte).map(|taken| taken + 1),
        [b'\\', next, ..] => same(*next).then_some(2),
        [next, ..] => same(*next).then_some(1),
    }
}

fn match_class(class: &[u8], byte: u8) -> Option<usize> {
    let is_negated = class.first() == Some(&b'^');
    let mut at = usize::from(is_negated);
    let mut is_in = false;
    let byte = byte.to_ascii_lowercase();
    loop {
        match &class[at..] {
            [] | [b']', ..] => break,
            [b'\\', next, ..] => {
                is_in |= next.to_ascii_lowercase() == byte;
                at += 2;
            }
            [first, b'-', last, ..] => {
                let (first, last) = (first.to_ascii_lowercase(), last.to_ascii_lowercase());
                is_in |= (first.min(last)..=first.max(last)).contains(&byte);
                at += 3;
            }
            [next, ..] => {
                is_in |= next.to_ascii_lowercase() == byte;
                at += 1;
            }
        }
    }
    // an open class ends with the pattern
    (is_in != is_negated).then_some((at + 1).min(class.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::matches_ignoring_case;

    #[test]
    fn patterns() {
        // Lost without it: CONFIG GET of an exporter would miss what it asks for.
        let table = [
            ("*", "", true),
            ("*", "maxmemory", true),
            ("*max*", "MaxMemory", true),
            ("save", "save", true),
            ("save", "saves", false),
            ("sav", "save", false),
            ("s?ve", "save", true),
            ("s[ab]ve", "save", true),
            ("s[^ab]ve", "save", false),
            ("s[b-z]ve", "save", false),
            ("s[z-a]ve", "save", true),
            ("s\\*ve", "save", false),
            ("s\\*ve", "s*ve", true),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
            ("[a", "a", true),
            ("[", "a", false),
            ("", "", true),
            ("", "a", false),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(
                matches_ignoring_case(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn stars_do_not_multiply() {
        // Lost without it: one CONFIG GET could hold a thread for minutes.
        let pattern = "a*".repeat(1000) + "b";
        assert!(!matches_ignoring_case(
            pattern.as_bytes(),
            "a".repeat(5000).as_bytes()
        ));
    }

    proptest! {
        #[test]
        fn never_panics(pattern in "[\\\\\\[\\]^a-c*?-]{0,12}", name in "[a-c]{0,8}") {
            // Lost without it: a pattern could end the node.
            matches_ignoring_case(pattern.as_bytes(), name.as_bytes());
        }
    }
}
