//! Numbers that look random and are the same for the same seed on every machine (splitmix64).

#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another stream, for part `number` of the work.
    #[must_use]
    pub const fn stream(seed: u64, number: u64) -> Self {
        let mut start = Self(seed ^ number.wrapping_mul(0xd605_1d1b_4f3a_9c25));
        Self(start.next())
    }

    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not zero.
    pub const fn below(&mut self, limit: usize) -> usize {
        ((self.next() >> 32) as usize).wrapping_mul(limit) >> 32
    }

    /// True once in `count` times.
    pub const fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub const fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    pub const fn word(&mut self) -> u16 {
        self.next() as u16
    }

    /// One of `choices`, of which there is at least one.
    pub const fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.byte()).collect()
    }

    /// A length from 0 to `most`, often a small one.
    pub const fn length(&mut self, most: usize) -> usize {
        let limit = if self.one_in(8) { most + 1 } else { most / 16 + 2 };
        self.below(limit)
    }
}
