//! What one of several may take of something that all share: dynamic thresholds, as Choudhury and Hahne describe them for the
//! memory of switches (IEEE/ACM Transactions on Networking 6, 1998).
//!
//! ```text
//! may take ⇔ held by it < 4 × free          alone 80 %, two 44 % each, three 31 % …: something is always free for the next
//! ```

/// Whether somebody who holds `held` of the `used` ones, of `limit` in all, may take one more.
#[inline]
pub const fn may_take(held: usize, used: usize, limit: usize) -> bool {
    let free = limit.saturating_sub(used);
    free > 0 && held < free.saturating_mul(SHARE)
}

/// A large one, so that few are limited where there is room: a single host gets four fifths.
const SHARE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// Each takes what it may, in turn; what each has in the end, and what is free.
    fn greedy(hosts: usize, limit: usize) -> (Vec<usize>, usize) {
        let mut held = vec![0; hosts];
        loop {
            let before = held.clone();
            for nth in 0..hosts {
                let used = held.iter().sum();
                held[nth] += usize::from(may_take(held[nth], used, limit));
            }
            if held == before {
                let free = limit - held.iter().sum::<usize>();
                return (held, free);
            }
        }
    }

    #[test]
    fn there_is_always_something_left_for_the_next_one() {
        assert_eq!(greedy(1, 1000), (vec![800], 200));
        for hosts in 2..20 {
            let (held, free) = greedy(hosts, 1000);
            assert!(held.iter().max().unwrap() - held.iter().min().unwrap() <= 4, "{held:?}");
            assert!(free >= 1000 / (4 * hosts + 1) - 4, "{hosts} leave {free}");
        }
    }

    #[test]
    fn the_last_one_of_a_small_number_can_be_had() {
        assert!(may_take(0, 0, 1) && may_take(1, 1, 2));
        assert!(!may_take(0, 1, 1) && !may_take(0, 2, 1));
    }
}
