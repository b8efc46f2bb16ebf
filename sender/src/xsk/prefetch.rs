//! Hints to the processor that memory will be written soon.
#![expect(unsafe_code, reason = "the prefetch instruction takes a raw pointer")]

const LINE: usize = 64;

/// Fetches the cache line at the start of `data` for writing; no effect but time.
#[inline(always)]
pub fn for_write<T>(data: &[T]) {
    line(data.as_ptr().cast());
}

/// Fetches all cache lines of `value`.
#[inline(always)]
pub fn all_for_write<T>(value: &T) {
    let start = std::ptr::from_ref(value).cast::<u8>();
    for offset in (0..size_of::<T>()).step_by(LINE) {
        line(start.wrapping_add(offset));
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
