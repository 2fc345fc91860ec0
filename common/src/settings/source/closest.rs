//! Suggestions for misspelt words.
//!
//! Only the distance between words; the caller writes the message.

/// Returns `"did you mean `x`? "` for the known word nearest to `word`, or nothing if none is near.
pub(crate) fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match closest(word, known) {
        Some(near) => format!("did you mean `{near}`? "),
        None => String::new(),
    }
}

/// Returns the known word with the fewest typing slips from `word`: at most a third of its length
/// (one for short words), because a wrong suggestion misleads more than none.
fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    let allowed = (length / 3).max(1);
    known
        .into_iter()
        // The table below grows with both words, and `word` may be very long.
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= allowed)
        .map(|candidate| (slips(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Counts the typing slips between two words: a missing, extra, wrong or transposed letter.
fn slips(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    // Three rows of the table are enough: a transposition reads two rows back.
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let wrong = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = wrong.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_count_single_keystrokes() {
        assert_eq!(slips("queue", "queue"), 0);
        assert_eq!(slips("", "abc"), 3);
        assert_eq!(slips("queu", "queue"), 1);
        assert_eq!(slips("quuee", "queue"), 1);
        assert_eq!(slips("lease", "leash"), 1);
        assert_eq!(slips("kitten", "sitting"), 3);
    }

    #[test]
    fn only_near_words_are_offered() {
        let known = ["name", "queues", "concurrency"];
        assert_eq!(closest("Concurency", known), Some("concurrency"));
        assert_eq!(closest("nmae", known), Some("name"));
        assert_eq!(closest("retries", known), None);
        assert_eq!(closest("x", ["url"]), None);
    }
}
