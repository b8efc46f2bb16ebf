//! A hint to the processor that a cache line will be written soon.
#![expect(unsafe_code, reason = "the prefetch instruction takes a raw pointer")]

/// Fetches the cache line at the start of `data` for writing; no effect but time.
#[inline(always)]
pub fn for_write<T>(data: &[T]) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads and writes nothing the program can see, and faults on no address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_ET0 }>(data.as_ptr().cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = data;
}
