//! Memory mappings that unmap themselves: packet memory on huge pages where they can be had, and the kernel's rings.
#![expect(unsafe_code, reason = "mmap, munmap, madvise, and handing out the mapped bytes")]

use std::{
    fmt, io,
    os::fd::{AsFd, AsRawFd},
    ptr::{self, NonNull},
    slice,
};

use super::{error::XskError, limits};

/// A huge page. Only this size is used: it is the one every x86-64 and arm64 kernel with 4 KiB pages has.
const HUGE_PAGE: usize = 2 << 20;

/// Whether packet memory is to lie on huge pages: fewer TLB misses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HugePages {
    /// Reserved huge pages, else transparent ones, else normal pages.
    #[default]
    Auto,
    /// Reserved huge pages or an error.
    On,
    /// Normal pages.
    Off,
}

/// What a mapping lies on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pages {
    /// Reserved huge pages (hugetlb) of 2 MiB.
    Huge,
    /// Aligned to 2 MiB and advised to be huge; how many really are is the kernel's choice.
    Transparent,
    /// Normal pages.
    Normal,
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Pages::Huge => "2 MiB pages",
            Pages::Transparent => "transparent huge pages",
            Pages::Normal => "normal pages",
        })
    }
}

/// A mapping, unmapped when dropped.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
    /// How much is mapped: `len` rounded up to the page.
    mapped: usize,
    pages: Pages,
}

// SAFETY: a mapping is memory of the process, not of a thread; `&Mapping` gives no access to the bytes.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// `len` zero bytes of private memory, present when this returns.
    ///
    /// The pages are touched by the calling thread: pin it first, so that they come from its NUMA node.
    ///
    /// # Errors
    /// [`XskError::Memory`] before anything is mapped when the machine or control group has less than `len`;
    /// [`XskError::System`] when huge pages were demanded and are not there, or mapping fails.
    pub fn anonymous(len: usize, huge_pages: HugePages) -> Result<Mapping, XskError> {
        if len == 0 {
            return Err(XskError::Config { what: "umem", value: "0".into(), remedy: "ask for at least one frame" });
        }
        if huge_pages != HugePages::Off {
            match Mapping::huge(len) {
                Ok(mapping) => return Ok(mapping),
                Err(error) if huge_pages == HugePages::On => {
                    let pages = len.div_ceil(HUGE_PAGE);
                    return Err(XskError::System {
                        what: format!("mapping {pages} huge pages of 2 MiB"),
                        error,
                        remedy: format!(
                            "reserve them (sysctl vm.nr_hugepages={pages}, better at boot) or set hugepages = \"auto\""
                        ),
                    });
                }
                Err(_) => {}
            }
        }
        limits::check_memory(len as u64)?;
        let mapping = match huge_pages {
            HugePages::Off => Mapping::map(None, len, 0, 0).map(|start| Mapping::own(start, len, len, Pages::Normal)),
            _ => Mapping::transparent(len),
        }
        .and_then(Mapping::populate);
        mapping.map_err(|error| XskError::System {
            what: format!("mapping {len} bytes"),
            error,
            remedy: "make transmit.umem smaller or add memory".into(),
        })
    }

    /// The part of a socket that starts at `offset`: one of its rings.
    pub(super) fn of_socket(fd: impl AsFd, len: usize, offset: i64) -> io::Result<Mapping> {
        let start = Mapping::map(Some(fd.as_fd().as_raw_fd()), len, libc::MAP_POPULATE, offset)?;
        Ok(Mapping::own(start, len, len, Pages::Normal))
    }

    /// What the mapping lies on.
    #[must_use]
    pub fn pages(&self) -> Pages {
        self.pages
    }

    /// Its length in bytes, as asked for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: a mapping has at least one byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where it starts.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// The first `len` bytes, for a mapping of anonymous memory.
    ///
    /// # Panics
    /// When `len` is more than there is.
    ///
    /// # Safety
    /// Nobody but a reader outside this program (the kernel sending a frame, a NIC by DMA) may touch these bytes while
    /// the slice lives, and the mapping must be anonymous memory, not a ring.
    #[inline]
    pub(super) unsafe fn prefix_mut(&mut self, len: usize) -> &mut [u8] {
        assert!(len <= self.len, "a prefix is not longer than its mapping");
        // SAFETY: `start..start + len` is mapped readable and writable for as long as `self` lives, zeroed at first so
        // initialised, and borrowed uniquely through `self`; the rest is the caller's promise.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), len) }
    }

    /// All bytes of memory that nobody else knows of.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let len = self.len;
        // SAFETY: only anonymous memory has a public constructor, and whoever shares its address with the kernel
        // (`Umem`, rings) keeps its Mapping to itself and does not call this.
        unsafe { self.prefix_mut(len) }
    }

    fn own(start: NonNull<u8>, len: usize, mapped: usize, pages: Pages) -> Mapping {
        Mapping { start, len, mapped, pages }
    }

    /// Reserved huge pages; ENOMEM when too few are free.
    fn huge(len: usize) -> io::Result<Mapping> {
        let mapped = len.next_multiple_of(HUGE_PAGE);
        let flags = libc::MAP_HUGETLB | libc::MAP_HUGE_2MB | libc::MAP_POPULATE;
        Ok(Mapping::own(Mapping::map(None, mapped, flags, 0)?, len, mapped, Pages::Huge))
    }

    /// Normal memory that starts at a multiple of 2 MiB, advised to become huge.
    fn transparent(len: usize) -> io::Result<Mapping> {
        let mapped = len.next_multiple_of(HUGE_PAGE);
        let all = mapped + HUGE_PAGE;
        let wide = Mapping::own(Mapping::map(None, all, 0, 0)?, all, all, Pages::Normal);
        let head = wide.start.as_ptr().align_offset(HUGE_PAGE);
        let tail = HUGE_PAGE - head;
        let base = wide.start.as_ptr();
        std::mem::forget(wide);
        // SAFETY: head <= 2 MiB, so this stays within the `all` bytes just mapped.
        let start = unsafe { base.add(head) };
        unmap(base, head);
        unmap(start.wrapping_add(mapped), tail);
        let start = NonNull::new(start).expect("mmap gave this address, and it is not null");
        // SAFETY: advice about `mapped` bytes that are mapped and ours.
        let advised = unsafe { libc::madvise(start.as_ptr().cast(), mapped, libc::MADV_HUGEPAGE) } == 0;
        Ok(Mapping::own(start, len, mapped, if advised { Pages::Transparent } else { Pages::Normal }))
    }

    /// Touches every page for writing, so that the first packet does not pay for it.
    fn populate(self) -> io::Result<Mapping> {
        let len = self.mapped.next_multiple_of(4096);
        // SAFETY: advice about memory that is mapped and ours (Linux 5.14 and newer).
        let result = unsafe { libc::madvise(self.start.as_ptr().cast(), len, libc::MADV_POPULATE_WRITE) };
        if result == 0 { Ok(self) } else { Err(io::Error::last_os_error()) }
    }

    fn map(fd: Option<i32>, len: usize, flags: i32, offset: i64) -> io::Result<NonNull<u8>> {
        let kind = if fd.is_some() { libc::MAP_SHARED } else { libc::MAP_PRIVATE | libc::MAP_ANONYMOUS };
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses the place, so no memory in use is touched; the result is checked.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, protection, kind | flags, fd.unwrap_or(-1), offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(NonNull::new(start.cast()).expect("mmap without MAP_FIXED never gives address 0"))
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        unmap(self.start.as_ptr(), self.mapped);
    }
}

/// Gives back what `map` gave, or a part of it that nobody uses. Empty ranges are nothing.
fn unmap(start: *mut u8, len: usize) {
    if len > 0 {
        // SAFETY: only called with ranges of a mapping of ours that nothing refers to any more.
        let result = unsafe { libc::munmap(start.cast(), len) };
        debug_assert_eq!(result, 0, "munmap of a mapping of ours");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_zero_writable_and_as_long_as_asked() {
        for huge_pages in [HugePages::Auto, HugePages::Off] {
            let mut mapping = Mapping::anonymous(3 * 2048, huge_pages).expect("six kilobytes");
            let bytes = mapping.bytes_mut();
            assert_eq!(bytes.len(), 3 * 2048);
            assert!(bytes.iter().all(|b| *b == 0));
            bytes.fill(7);
        }
    }

    #[test]
    fn without_reserved_huge_pages_memory_falls_back_and_says_so() {
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
        if !meminfo.contains("HugePages_Total:       0") {
            println!("SKIPPED without_reserved_huge_pages_memory_falls_back_and_says_so: huge pages are reserved here");
            return;
        }
        let mapping = Mapping::anonymous(4 << 20, HugePages::Auto).expect("four megabytes");
        assert_ne!(mapping.pages(), Pages::Huge);
        if mapping.pages() == Pages::Transparent {
            assert_eq!(mapping.start().as_ptr() as usize % HUGE_PAGE, 0);
        }
        let error = Mapping::anonymous(4 << 20, HugePages::On).expect_err("none are reserved");
        assert!(error.to_string().contains("vm.nr_hugepages=2"), "{error}");
        assert_eq!(Mapping::anonymous(4 << 20, HugePages::Off).expect("four megabytes").pages(), Pages::Normal);
    }

    #[test]
    fn a_mapping_larger_than_memory_is_refused_before_anything_is_mapped() {
        let error = Mapping::anonymous(1 << 46, HugePages::Auto).expect_err("64 TiB");
        assert!(matches!(error, XskError::Memory { .. }), "{error}");
        assert!(Mapping::anonymous(0, HugePages::Auto).is_err());
    }

    #[test]
    fn many_mappings_come_and_go() {
        for _ in 0..200 {
            let mut mapping = Mapping::anonymous(2 << 20, HugePages::Auto).expect("two megabytes");
            mapping.bytes_mut()[(2 << 20) - 1] = 1;
        }
    }
}
