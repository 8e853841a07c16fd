//! Makes failing bytes smaller and plainer: ends cut off, bytes set to zero. What is left is what matters.

/// Runs after which what has been reached is good enough.
const RUNS: u32 = 3000;

/// The smallest bytes found for which `fails` still says yes; it does for `bytes`. Nothing shorter than `shortest` is
/// tried.
pub fn shrink(bytes: &[u8], shortest: usize, mut fails: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut best = bytes.to_vec();
    let mut runs = 0;
    let mut fails = |candidate: &[u8]| {
        runs += 1;
        (runs <= RUNS).then(|| fails(candidate))
    };
    loop {
        let before = best.clone();
        let Some(()) = cut(&mut best, shortest, &mut fails).and_then(|()| zero(&mut best, &mut fails)) else {
            return best;
        };
        if best == before {
            return best;
        }
    }
}

/// Cuts off the end, by half of what may go, then by less. `None`: no runs left.
fn cut(best: &mut Vec<u8>, shortest: usize, fails: &mut impl FnMut(&[u8]) -> Option<bool>) -> Option<()> {
    let mut step = best.len().saturating_sub(shortest).div_ceil(2);
    while step > 0 {
        let len = best.len().saturating_sub(step);
        if len >= shortest && len < best.len() && fails(&best[..len])? {
            best.truncate(len);
        } else {
            step /= 2;
        }
    }
    Some(())
}

/// Sets stretches to zero, long ones first.
fn zero(best: &mut [u8], fails: &mut impl FnMut(&[u8]) -> Option<bool>) -> Option<()> {
    for size in [64, 16, 4, 1] {
        for start in (0..best.len()).step_by(size) {
            let end = best.len().min(start + size);
            if best[start..end].iter().all(|byte| *byte == 0) {
                continue;
            }
            let mut candidate = best.to_vec();
            candidate[start..end].fill(0);
            if fails(&candidate)? {
                best.copy_from_slice(&candidate);
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bytes_that_matter_are_left() {
        let bytes: Vec<u8> = (1..=200).collect();
        let fails = |bytes: &[u8]| bytes.get(40) == Some(&41) && bytes.get(99).is_some_and(|byte| *byte > 7);
        let shrunk = shrink(&bytes, 14, fails);
        assert_eq!(shrunk.len(), 100);
        assert!(
            shrunk.iter().enumerate().all(|(at, byte)| [40, 99].contains(&at) == (*byte != 0)),
            "{shrunk:?}"
        );
    }

    #[test]
    fn nothing_gets_shorter_than_allowed() {
        assert_eq!(shrink(&[1; 50], 14, |_| true), [0; 14]);
    }

    #[test]
    fn it_ends_when_nothing_can_go() {
        assert_eq!(shrink(&[1; 50], 0, |bytes| *bytes == [1; 50]), [1; 50]);
    }
}
