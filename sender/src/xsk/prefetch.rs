//! Hints to the processor that memory will be used soon.
#![expect(unsafe_code, reason = "the prefetch instruction takes a raw pointer")]

const LINE: usize = 64;

/// Fetches the cache line at the start of `data` for writing; no effect but time.
#[inline(always)]
pub fn for_write<T>(data: &[T]) {
    line(data.as_ptr().cast());
}

/// Fetches all cache lines of `data` for writing.
#[inline(always)]
pub fn all_for_write<T>(data: &[T]) {
    let start = data.as_ptr().cast::<u8>();
    for offset in (0..size_of_val(data)).step_by(LINE) {
        line(start.wrapping_add(offset));
    }
}

/// Fetches all cache lines of `data` for reading.
#[inline(always)]
pub fn all_for_read(data: &[u8]) {
    for chunk in data.chunks(LINE) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch reads and writes nothing the program can see, and faults on no address.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(chunk.as_ptr().cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = chunk;
    }
}

#[inline(always)]
fn line(pointer: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads and writes nothing the program can see, and faults on no address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_ET0 }>(pointer.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = pointer;
}
