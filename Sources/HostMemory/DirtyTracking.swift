/// How dirty pages are found.
public enum DirtyTracking: String, Sendable, CaseIterable {
    /// The kernel's asynchronous write protection, read by PAGEMAP_SCAN (Linux 6.7 and later).
    ///
    /// System calls that write into the memory just work.
    case asyncWriteProtect
    /// Memory mapped read-only, and a SIGSEGV handler that notes the first store to each page.
    ///
    /// System calls that write into clean pages fail with EFAULT.
    case signal
}
