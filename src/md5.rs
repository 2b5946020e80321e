//! The checkpointed MD5: a file's own MD5, with the state at every block boundary on the way.
//!
//! MD5's state at a block boundary is a *checkpoint*. Each block can be checked alone: start from
//! its checkpoint, hash it, and the next checkpoint must come out; the file's very last block, with
//! the padding, must give the MD5 that `md5sum` prints. When all blocks are checked under one list
//! of checkpoints, the whole file's MD5 is proven without a second pass.
//!
//! Blocks are independent of one another, so [`bad_blocks`] hashes 16 of them at once: a plain
//! compression over `[u32; 16]`, which LLVM turns into vector instructions.
//!
//! This module owns nothing; any thread may call it. It never reads a file, waits or locks.

use std::array;
use std::fmt;
use std::str::FromStr;

use ::md5::block_api::compress;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// MD5's chaining value between two 64-byte blocks: the words A, B, C, D.
pub type Checkpoint = [u32; 4];

/// The state before a file's first byte (RFC 1321, 3.3).
pub const INITIAL: Checkpoint = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// Bytes that MD5 takes in one step; a block's length is a multiple of this.
const CHUNK: usize = 64;

/// An MD5 as `md5sum` prints it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 16]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = String;

    /// Reads exactly 32 hex digits, in either case; the error says what was expected.
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected an MD5 of 32 hex digits, got {text:?}");
        // from_str_radix alone would accept a leading '+'.
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(expected());
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| expected())?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// What must come out of the last of some consecutive blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The checkpoint after it: more of the file follows.
    Checkpoint(Checkpoint),
    /// The end of a file of `size` bytes.
    Digest {
        /// The whole file's MD5.
        digest: Digest,
        /// The whole file's size in bytes, which the padding contains.
        size: u64,
    },
}

impl End {
    /// Returns true if the file, or these blocks, end as they must after `state` and then `rest`.
    fn follows(self, state: Checkpoint, rest: &[u8]) -> bool {
        match self {
            Self::Checkpoint(next) => rest.is_empty() && state == next,
            Self::Digest { digest, size } => pad(state, rest, size) == digest,
        }
    }
}

/// Checks consecutive blocks of `block_len` bytes; the last may be shorter if `end` is an [`End::Digest`]. `starts[i]` is
/// the state before block `i`.
///
/// Returns the indexes of the blocks that don't lead from their own start to the next one's, so none if all are good. If
/// the lengths don't fit together, block 0 is reported as bad: they may come from a peer.
pub fn bad_blocks(data: &[u8], block_len: usize, starts: &[Checkpoint], end: End) -> Vec<usize> {
    bad_blocks_with(Kernel::best(), data, block_len, starts, end)
}

fn bad_blocks_with(
    kernel: Kernel,
    data: &[u8],
    block_len: usize,
    starts: &[Checkpoint],
    end: End,
) -> Vec<usize> {
    if !lengths_fit(data.len(), block_len, starts.len(), end) {
        return vec![0];
    }
    let mut bad = Vec::new();
    let Some(last_idx) = starts.len().checked_sub(1) else {
        bad.extend((!end.follows(INITIAL, &[])).then_some(0));
        return bad;
    };
    let (full, short) = data.split_at(data.len() - data.len() % block_len);
    let leads_on = |block_idx: usize, state: Checkpoint| match starts.get(block_idx + 1) {
        Some(next) => state == *next,
        None => end.follows(state, &[]),
    };
    for (group_idx, group) in full.chunks(LANES * block_len).enumerate() {
        let first_idx = group_idx * LANES;
        let n_blocks = group.len() / block_len;
        let states = hash_group(kernel, group, block_len, &starts[first_idx..]);
        let of_group = (0..n_blocks).filter(|&i| !leads_on(first_idx + i, states[i]));
        bad.extend(of_group.map(|i| first_idx + i));
    }
    let short_is_bad = !short.is_empty() && !end.follows(starts[last_idx], short);
    bad.extend(short_is_bad.then_some(last_idx));
    bad
}

/// Returns true if `data_len` bytes can be `n_starts` blocks with this end.
fn lengths_fit(data_len: usize, block_len: usize, n_starts: usize, end: End) -> bool {
    if block_len == 0
        || !block_len.is_multiple_of(CHUNK)
        || n_starts != data_len.div_ceil(block_len)
    {
        return false;
    }
    match end {
        End::Checkpoint(_) => data_len > 0 && data_len.is_multiple_of(block_len),
        // The data must be the file's end, and nothing but an empty file has an empty one.
        End::Digest { size, .. } => match size.checked_sub(data_len as u64) {
            Some(offset) => offset.is_multiple_of(block_len as u64) && (data_len > 0 || size == 0),
            None => false,
        },
    }
}

/// Returns the states after each of the at most [`LANES`] full blocks in `group`; the lanes beyond them are meaningless.
fn hash_group(
    kernel: Kernel,
    group: &[u8],
    block_len: usize,
    starts: &[Checkpoint],
) -> [Checkpoint; LANES] {
    let n_blocks = group.len() / block_len;
    // Lanes without a block repeat the last one.
    let mut states: [Checkpoint; LANES] = array::from_fn(|lane| starts[lane.min(n_blocks - 1)]);
    let block = |i: usize| group[i * block_len..][..block_len].as_chunks().0;
    if n_blocks < kernel.fewest_blocks() {
        for (i, state) in states[..n_blocks].iter_mut().enumerate() {
            compress(state, block(i));
        }
        return states;
    }
    let blocks = array::from_fn(|lane| block(lane.min(n_blocks - 1)));
    let mut words = array::from_fn(|word| states.map(|state| state[word]));
    kernel.hash_lanes(&mut words, &blocks);
    array::from_fn(|lane| words.map(|word| word[lane]))
}

/// Hashes the last bytes of a file of `size` bytes, padding included.
fn pad(mut state: Checkpoint, rest: &[u8], size: u64) -> Digest {
    let (chunks, tail) = rest.as_chunks();
    compress(&mut state, chunks);
    let mut padded = [[0; CHUNK]; 2];
    let flat = padded.as_flattened_mut();
    flat[..tail.len()].copy_from_slice(tail);
    flat[tail.len()] = 0x80;
    // The size in bits, modulo 2^64, ends the first chunk that has room for it.
    let n_chunks = (tail.len() + 1 + 8).div_ceil(CHUNK);
    flat[n_chunks * CHUNK - 8..][..8].copy_from_slice(&size.wrapping_mul(8).to_le_bytes());
    compress(&mut state, &padded[..n_chunks]);

    let mut bytes = [0; 16];
    for (out, word) in bytes.as_chunks_mut().0.iter_mut().zip(state) {
        *out = word.to_le_bytes();
    }
    Digest(bytes)
}

/// Returns the MD5 of `size` bytes that lead to this state; they are a multiple of 64.
pub fn digest_at(state: Checkpoint, size: u64) -> Digest {
    pad(state, &[], size)
}

/// Returns the plain MD5 of `data`, for small inputs.
pub fn digest(data: &[u8]) -> Digest {
    pad(INITIAL, data, data.len() as u64)
}

/// Hashes a file from front to back, and records the state before each block.
///
/// Invariant: `size % 64` bytes wait in `waiting` for the rest of their chunk; `state` is the one before them.
#[derive(Clone)]
pub struct Hasher {
    block_len: u64,
    size: u64,
    state: Checkpoint,
    waiting: [u8; CHUNK],
    starts: Vec<Checkpoint>,
}

impl Hasher {
    /// Creates a hasher for blocks of `block_len` bytes.
    ///
    /// # Panics
    /// If `block_len` isn't a positive multiple of 64.
    pub fn new(block_len: usize) -> Self {
        assert!(
            block_len > 0 && block_len.is_multiple_of(CHUNK),
            "expected blocks of a positive multiple of {CHUNK} bytes, got {block_len}"
        );
        Self {
            block_len: block_len as u64,
            size: 0,
            state: INITIAL,
            waiting: [0; CHUNK],
            starts: Vec::new(),
        }
    }

    /// Takes the file's next bytes, any number of them.
    pub fn update(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let in_block = self.size % self.block_len;
            if in_block == 0 {
                self.starts.push(self.state);
            }
            let left = usize::try_from(self.block_len - in_block).unwrap_or(usize::MAX);
            let (now, later) = data.split_at(left.min(data.len()));
            self.absorb(now);
            data = later;
        }
    }

    /// Hashes `data`, which doesn't cross a block boundary.
    fn absorb(&mut self, mut data: &[u8]) {
        let n_waiting = self.n_waiting();
        self.size += data.len() as u64;
        if n_waiting > 0 {
            let (now, later) = data.split_at(data.len().min(CHUNK - n_waiting));
            self.waiting[n_waiting..][..now.len()].copy_from_slice(now);
            if n_waiting + now.len() < CHUNK {
                return;
            }
            compress(&mut self.state, &[self.waiting]);
            data = later;
        }
        let (chunks, tail) = data.as_chunks();
        compress(&mut self.state, chunks);
        self.waiting[..tail.len()].copy_from_slice(tail);
    }

    /// Bytes that wait for the rest of their chunk.
    fn n_waiting(&self) -> usize {
        (self.size % CHUNK as u64) as usize
    }

    /// Returns how many bytes it took so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the state before each block (none for an empty file), and the file's MD5.
    pub fn finish(self) -> (Vec<Checkpoint>, Digest) {
        let tail = &self.waiting[..self.n_waiting()];
        let digest = pad(self.state, tail, self.size);
        (self.starts, digest)
    }
}

/// Returns which instructions this CPU checks blocks with: `AVX-512`, `AVX2`, or `portable`, which has one lane.
pub fn lanes() -> &'static str {
    match Kernel::best() {
        Kernel::Avx512 => "AVX-512",
        Kernel::Avx2 => "AVX2",
        Kernel::Portable => "portable",
    }
}

/// Blocks that are hashed at once: the 32-bit words of one AVX-512 register, or of two AVX2 ones,
/// whose two chains of dependent instructions then overlap.
const LANES: usize = 16;

/// One 32-bit word of each lane.
type Lanes = [u32; LANES];

/// Chunks of each lane that are brought into word order before they are hashed. With one, the CPU
/// would wait for the narrow stores before each of the wide loads; 8 fill 8 KiB, well within L1.
const STRIDE: usize = 8;

/// The instructions that hash the lanes, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    Avx512,
    Avx2,
    /// The instructions of the build's target.
    Portable,
}

impl Kernel {
    const ALL: [Self; 3] = [Self::Avx512, Self::Avx2, Self::Portable];

    fn best() -> Self {
        let here = Self::ALL.into_iter().find(|kernel| kernel.runs_here());
        here.unwrap_or(Self::Portable)
    }

    fn runs_here(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512 | Self::Avx2 => false,
            Self::Portable => true,
        }
    }

    /// Returns from how many blocks on the lanes are faster than one block after the other. With AVX2 all lanes take as
    /// long as 2.5 single blocks; with SSE2 alone they gain nothing (on Zen 3).
    fn fewest_blocks(self) -> usize {
        match self {
            Self::Avx512 | Self::Avx2 => 3,
            Self::Portable => LANES + 1,
        }
    }

    /// Takes each lane's state past its block; the blocks have equal lengths.
    #[allow(unsafe_code)] // The project's only: what the compiler can't know is which CPU this is.
    fn hash_lanes(self, words: &mut [Lanes; 4], blocks: &[&[[u8; CHUNK]]; LANES]) {
        assert!(self.runs_here(), "{self:?} was chosen on a CPU without it");
        match self {
            // SAFETY: the function needs only that the CPU has AVX-512F, which was just asserted.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { hash_lanes_avx512(words, blocks) },
            // SAFETY: the function needs only that the CPU has AVX2, which was just asserted.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { hash_lanes_avx2(words, blocks) },
            _ => hash_lanes(words, blocks),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn hash_lanes_avx512(words: &mut [Lanes; 4], blocks: &[&[[u8; CHUNK]]; LANES]) {
    hash_lanes(words, blocks);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn hash_lanes_avx2(words: &mut [Lanes; 4], blocks: &[&[[u8; CHUNK]]; LANES]) {
    hash_lanes(words, blocks);
}

/// The body of all kernels; it is inlined into each and compiled for its instructions.
#[inline(always)]
fn hash_lanes(words: &mut [Lanes; 4], blocks: &[&[[u8; CHUNK]]; LANES]) {
    let n_chunks = blocks[0].len();
    let mut message = [[0; LANES]; STRIDE * 16];
    for first in (0..n_chunks).step_by(STRIDE) {
        let stride = first..n_chunks.min(first + STRIDE);
        let message = &mut message[..stride.len() * 16];
        // Four lanes at a time, so that they fit into L1, where the lanes' lines fall into one set.
        for lane in (0..LANES).step_by(4) {
            let quad = array::from_fn(|i| blocks[lane + i][stride.clone()].as_flattened());
            interleave(message, lane, quad);
        }
        for message in message.as_chunks().0 {
            compress_lanes(words, message);
        }
    }
}

/// Puts four lanes' bytes, as words, into `message` from `lane` on.
///
/// Not inlined: compiled for AVX-512, it would become scatter instructions, which are slow.
#[inline(never)]
fn interleave(message: &mut [Lanes], lane: usize, quad: [&[u8]; 4]) {
    let [a, b, c, d] = quad.map(|bytes| &bytes.as_chunks().0[..message.len()]);
    assert!(lane <= LANES - 4, "four lanes from {lane} on"); // Here, so that it isn't in the loop.
    for (i, word) in message.iter_mut().enumerate() {
        word[lane] = u32::from_le_bytes(a[i]);
        word[lane + 1] = u32::from_le_bytes(b[i]);
        word[lane + 2] = u32::from_le_bytes(c[i]);
        word[lane + 3] = u32::from_le_bytes(d[i]);
    }
}

/// Compresses one chunk in each lane (RFC 1321, 3.4).
#[inline(always)]
fn compress_lanes(words: &mut [Lanes; 4], message: &[Lanes; 16]) {
    let mut new = *words;
    round::<0>(&mut new, message, |b, c, d| d ^ (b & (c ^ d)));
    // The two sides share no bit, so adding equals `|`, and `b`'s side comes later.
    round::<1>(&mut new, message, |b, c, d| (c & !d).wrapping_add(b & d));
    round::<2>(&mut new, message, |b, c, d| b ^ c ^ d);
    round::<3>(&mut new, message, |b, c, d| c ^ (b | !d));
    for (word, new) in words.iter_mut().zip(new) {
        *word = array::from_fn(|lane| word[lane].wrapping_add(new[lane]));
    }
}

/// One of the four rounds, unrolled: otherwise LLVM doesn't keep the lanes in vector registers.
#[inline(always)]
fn round<const R: usize>(
    words: &mut [Lanes; 4],
    message: &[Lanes; 16],
    mix: impl Fn(u32, u32, u32) -> u32 + Copy,
) {
    four_steps::<R>(words, message, mix, 0);
    four_steps::<R>(words, message, mix, 4);
    four_steps::<R>(words, message, mix, 8);
    four_steps::<R>(words, message, mix, 12);
}

#[inline(always)]
fn four_steps<const R: usize>(
    [a, b, c, d]: &mut [Lanes; 4],
    message: &[Lanes; 16],
    mix: impl Fn(u32, u32, u32) -> u32 + Copy,
    i: usize,
) {
    step::<R>(a, [b, c, d], message, mix, i);
    step::<R>(d, [a, b, c], message, mix, i + 1);
    step::<R>(c, [d, a, b], message, mix, i + 2);
    step::<R>(b, [c, d, a], message, mix, i + 3);
}

/// Computes step `i` of round `R`: the one word that changes from the other three.
#[inline(always)]
fn step<const R: usize>(
    a: &mut Lanes,
    [b, c, d]: [&Lanes; 3],
    message: &[Lanes; 16],
    mix: impl Fn(u32, u32, u32) -> u32,
    i: usize,
) {
    let word = &message[[i, 5 * i + 1, 3 * i + 5, 7 * i][R] % 16];
    for lane in 0..LANES {
        let sum = a[lane]
            .wrapping_add(word[lane])
            .wrapping_add(SINES[R][i])
            .wrapping_add(mix(b[lane], c[lane], d[lane]));
        a[lane] = sum.rotate_left(ROTATIONS[R][i % 4]).wrapping_add(b[lane]);
    }
}

/// How far each round's steps rotate, in bits.
const ROTATIONS: [[u32; 4]; 4] = [
    [7, 12, 17, 22],
    [5, 9, 14, 20],
    [4, 11, 16, 23],
    [6, 10, 15, 21],
];

/// `floor(2^32 * abs(sin(n)))` for `n` from 1 on, one row per round.
#[rustfmt::skip]
const SINES: [[u32; 16]; 4] = [
    [
        0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
        0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    ],
    [
        0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
        0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    ],
    [
        0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
        0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    ],
    [
        0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
        0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
    ],
];

#[cfg(test)]
mod tests {
    use std::iter;

    use ::md5::Digest as _;
    use rand::rngs::StdRng;
    use rand::{Rng, RngExt, SeedableRng};

    use super::*;

    fn first_bad_block(data: &[u8], len: usize, starts: &[Checkpoint], end: End) -> Option<usize> {
        bad_blocks(data, len, starts, end).first().copied()
    }

    fn first_bad_block_with(
        kernel: Kernel,
        data: &[u8],
        len: usize,
        starts: &[Checkpoint],
        end: End,
    ) -> Option<usize> {
        bad_blocks_with(kernel, data, len, starts, end)
            .first()
            .copied()
    }

    const SIZES: [usize; 14] = [
        1, 63, 64, 65, 127, 128, 1_000, 1_024, 4_096, 4_100, 5_000, 8_192, 20_000, 70_001,
    ];
    const BLOCK_LENS: [usize; 5] = [64, 128, 192, 1_024, 4_096];

    fn random_bytes(rng: &mut StdRng, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        rng.fill_bytes(&mut bytes);
        bytes
    }

    fn reference(data: &[u8]) -> Digest {
        Digest(::md5::Md5::digest(data).into())
    }

    fn hash(data: &[u8], block_len: usize) -> (Vec<Checkpoint>, Digest) {
        let mut hasher = Hasher::new(block_len);
        hasher.update(data);
        hasher.finish()
    }

    fn whole(data: &[u8], block_len: usize) -> (Vec<Checkpoint>, End) {
        let (starts, digest) = hash(data, block_len);
        let size = data.len() as u64;
        (starts, End::Digest { digest, size })
    }

    #[test]
    fn rfc_1321_vectors() {
        let digits = "1234567890".repeat(8);
        for (text, md5) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            (
                "abcdefghijklmnopqrstuvwxyz",
                "c3fcd3d76192e4007dfb496cca67e13b",
            ),
            (&digits, "57edf4a22be3c955ac49da2e2107b67a"),
        ] {
            assert_eq!(digest(text.as_bytes()).to_string(), md5, "{text:?}");
            assert_eq!(hash(text.as_bytes(), 64).1.to_string(), md5, "{text:?}");
        }
        assert_eq!(hash(b"", 64).0, Vec::<Checkpoint>::new());
    }

    #[test]
    fn sines_are_as_rfc_1321_defines_them() {
        for (i, sine) in SINES.as_flattened().iter().enumerate() {
            let exact = ((i + 1) as f64).sin().abs() * f64::from(2_u32).powi(32);
            assert_eq!(*sine, exact as u32, "{i}");
        }
    }

    #[test]
    fn digest_as_text() {
        let text = "d41d8cd98f00b204e9800998ecf8427e";
        let empty = digest(b"");
        assert_eq!(text.parse(), Ok(empty));
        assert_eq!(text.to_uppercase().parse(), Ok(empty));
        assert_eq!(format!("{empty} {empty:?}"), format!("{text} {text}"));
        assert_eq!(serde_json::to_string(&empty).unwrap(), format!("{text:?}"));
        let read: Digest = serde_json::from_str(&format!("{text:?}")).unwrap();
        assert_eq!(read, empty);
        let plus = format!("+{}", &text[1..]);
        let long = format!("{text}0");
        let wide = "é".repeat(16);
        for bad in ["", &text[1..], &long, &plus, &wide] {
            let error = bad.parse::<Digest>().unwrap_err();
            assert!(error.contains("32 hex digits"), "{bad:?}: {error}");
            assert!(serde_json::from_str::<Digest>(&format!("{bad:?}")).is_err());
        }
    }

    #[test]
    fn equals_the_md5_crate_at_every_short_length() {
        let data = random_bytes(&mut StdRng::seed_from_u64(1), 257);
        for len in 0..=257 {
            let data = &data[..len];
            assert_eq!(digest(data), reference(data), "{len}");
            assert_eq!(hash(data, 64).1, reference(data), "{len}");
        }
    }

    #[test]
    fn updates_of_any_lengths_give_the_same() {
        let mut rng = StdRng::seed_from_u64(2);
        for _ in 0..100 {
            let size = rng.random_range(0..20_000);
            let data = random_bytes(&mut rng, size);
            let block_len = 64 * rng.random_range(1..40);
            let longest = rng.random_range(1..3_000);
            let mut hasher = Hasher::new(block_len);
            let mut rest = &data[..];
            while !rest.is_empty() {
                let len = rng.random_range(0..=longest).min(rest.len());
                hasher.update(&rest[..len]);
                rest = &rest[len..];
            }
            let (starts, digest) = hasher.finish();
            assert_eq!(digest, reference(&data), "{size} {block_len} {longest}");
            assert_eq!(starts.len(), size.div_ceil(block_len));
            assert_eq!((starts, digest), hash(&data, block_len));
        }
    }

    #[test]
    fn whole_files_verify() {
        let mut rng = StdRng::seed_from_u64(3);
        for (size, block_len) in combinations() {
            let data = random_bytes(&mut rng, size);
            let (starts, end) = whole(&data, block_len);
            let bad = first_bad_block(&data, block_len, &starts, end);
            assert_eq!(bad, None, "{size} {block_len}");
        }
        let (starts, end) = whole(b"", 64);
        assert_eq!(first_bad_block(b"", 64, &starts, end), None);
    }

    fn combinations() -> impl Iterator<Item = (usize, usize)> {
        let of = |size| BLOCK_LENS.iter().map(move |block_len| (size, *block_len));
        SIZES.into_iter().flat_map(of)
    }

    #[test]
    fn every_range_of_blocks_verifies_by_itself() {
        let data = random_bytes(&mut StdRng::seed_from_u64(4), 128 * 50 + 17);
        let (starts, end) = whole(&data, 128);
        for first in 0..starts.len() {
            for past in first + 1..starts.len() {
                let range = &data[first * 128..past * 128];
                let next = End::Checkpoint(starts[past]);
                let bad = first_bad_block(range, 128, &starts[first..past], next);
                assert_eq!(bad, None, "{first}..{past}");
            }
            let bad = first_bad_block(&data[first * 128..], 128, &starts[first..], end);
            assert_eq!(bad, None, "{first}..");
        }
    }

    #[test]
    fn a_flipped_bit_is_found_in_its_block() {
        let mut rng = StdRng::seed_from_u64(5);
        for n_blocks in [1, 3, 4, 5, 15, 16, 17, 20, 32, 37] {
            for short in [0, 1, 60, 100] {
                let mut data = random_bytes(&mut rng, 192 * n_blocks + short);
                let (starts, end) = whole(&data, 192);
                for block_idx in 0..starts.len() {
                    let block_end = data.len().min((block_idx + 1) * 192);
                    let at = rng.random_range(block_idx * 192..block_end);
                    let bit = 1 << rng.random_range(0..8);
                    data[at] ^= bit;
                    let bad = first_bad_block(&data, 192, &starts, end);
                    assert_eq!(bad, Some(block_idx), "{n_blocks} {short} {at}");
                    data[at] ^= bit;
                }
            }
        }
    }

    #[test]
    fn the_first_of_several_bad_blocks_is_told() {
        let mut data = random_bytes(&mut StdRng::seed_from_u64(6), 64 * 40);
        let (starts, end) = whole(&data, 64);
        for block_idx in [39, 21, 20, 7] {
            data[block_idx * 64] ^= 1;
            let bad = first_bad_block(&data, 64, &starts, end);
            assert_eq!(bad, Some(block_idx));
        }
    }

    #[test]
    fn an_altered_checkpoint_is_found_where_it_is_used() {
        let data = random_bytes(&mut StdRng::seed_from_u64(7), 64 * 35 + 5);
        let (mut starts, end) = whole(&data, 64);
        for block_idx in 0..starts.len() {
            starts[block_idx][block_idx % 4] ^= 1 << 9;
            let bad = first_bad_block(&data, 64, &starts, end);
            assert_eq!(bad, Some(block_idx.saturating_sub(1)));
            starts[block_idx][block_idx % 4] ^= 1 << 9;
        }
    }

    #[test]
    fn a_wrong_end_is_the_last_blocks_fault() {
        let mut rng = StdRng::seed_from_u64(8);
        for (size, block_len) in combinations() {
            let data = random_bytes(&mut rng, size);
            let (starts, end) = whole(&data, block_len);
            let End::Digest { mut digest, size } = end else {
                panic!("whole() gives a digest");
            };
            digest.0[15] ^= 1;
            let bad = first_bad_block(&data, block_len, &starts, End::Digest { digest, size });
            assert_eq!(bad, Some(starts.len() - 1), "{size} {block_len}");
            let n_full = data.len() / block_len;
            if let Some(next) = starts.get(n_full) {
                let wrong = End::Checkpoint([next[0], next[1], next[2], !next[3]]);
                let full = &data[..n_full * block_len];
                let bad = first_bad_block(full, block_len, &starts[..n_full], wrong);
                assert_eq!(bad, Some(n_full.saturating_sub(1)), "{size} {block_len}");
            }
        }
    }

    #[test]
    fn every_kernel_equals_one_lane() {
        let mut rng = StdRng::seed_from_u64(9);
        for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.runs_here()) {
            for n_chunks in (1..=2 * STRIDE + 1).chain([64]) {
                let data = random_bytes(&mut rng, LANES * n_chunks * CHUNK);
                let lanes: Vec<_> = data.chunks(n_chunks * CHUNK).collect();
                let blocks = array::from_fn(|lane| lanes[lane].as_chunks().0);
                let mut states: [Checkpoint; LANES] = array::from_fn(|_| rng.random());
                let mut words = array::from_fn(|word| states.map(|state| state[word]));
                kernel.hash_lanes(&mut words, &blocks);
                for (state, block) in iter::zip(&mut states, blocks) {
                    compress(state, block);
                }
                let got: [Checkpoint; LANES] = array::from_fn(|lane| words.map(|word| word[lane]));
                assert_eq!(got, states, "{kernel:?} {n_chunks}");
            }
        }
    }

    #[test]
    fn every_kernel_verifies_groups_of_every_length() {
        let data = random_bytes(&mut StdRng::seed_from_u64(10), 128 * 50);
        for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.runs_here()) {
            for n_blocks in 1..=50 {
                let data = &data[..n_blocks * 128];
                let (mut starts, end) = whole(data, 128);
                let check =
                    |starts: &[Checkpoint]| first_bad_block_with(kernel, data, 128, starts, end);
                assert_eq!(check(&starts), None, "{kernel:?} {n_blocks}");
                starts[n_blocks - 1][0] ^= 1;
                let bad = n_blocks.saturating_sub(2);
                assert_eq!(check(&starts), Some(bad), "{kernel:?} {n_blocks}");
            }
        }
    }

    #[test]
    fn lengths_that_do_not_fit_are_bad() {
        let data = random_bytes(&mut StdRng::seed_from_u64(11), 1_000);
        let (starts, end) = whole(&data, 128);
        let End::Digest { digest, .. } = end else {
            panic!("whole() gives a digest");
        };
        let sized = |size| End::Digest { digest, size };
        let empty = End::Digest {
            digest: super::digest(b""),
            size: 0,
        };
        let state = End::Checkpoint(starts[7]);
        let extra = [&starts[..], &[INITIAL]].concat();
        type Case<'a> = (&'a str, &'a [u8], usize, &'a [Checkpoint], End);
        let cases: [Case<'_>; 14] = [
            ("block length 0", &data, 0, &starts, end),
            ("block length 100", &data, 100, &starts, end),
            ("block length 64", &data, 64, &starts, end),
            ("huge block length", &data, usize::MAX - 63, &starts, end),
            ("too few starts", &data, 128, &starts[..7], end),
            ("no starts", &data, 128, &[], end),
            ("too many starts", &data, 128, &extra, end),
            ("short block before a state", &data, 128, &starts, state),
            (
                "no data before a state",
                &[],
                128,
                &[],
                End::Checkpoint(INITIAL),
            ),
            ("size below the data's", &data, 128, &starts, sized(999)),
            ("size off the blocks", &data, 128, &starts, sized(1_001)),
            ("largest size", &data, 128, &starts, sized(u64::MAX)),
            ("empty data of a file", &[], 128, &[], sized(128)),
            ("data of an empty file", &data, 128, &starts, empty),
        ];
        for (name, data, block_len, starts, end) in cases {
            assert_eq!(
                first_bad_block(data, block_len, starts, end),
                Some(0),
                "{name}"
            );
        }
        assert_eq!(
            first_bad_block(&[], 128, &[], sized(0)),
            Some(0),
            "wrong MD5 of nothing"
        );
    }
}
