internal import CHostMemory
internal import Glibc
internal import VMTypes

/// The process's one userfaultfd and page-map descriptor, opened at first use and kept for the process's life.
///
/// One descriptor serves write protection and demand faults of all mappings: ranges are registered in the modes
/// that they need. A forked child has neither.
struct Userfault: Sendable {
    static let shared = Userfault()

    /// The features that are on; 0 without a descriptor.
    let features: UInt64
    /// Whether faults inside system calls are served too.
    let servesKernel: Bool
    /// Why there is no descriptor, or only one for faults of user code; 0 where there is nothing to tell.
    let errnoOfOpening: Int32
    let isOpen: Bool

    private init() {
        let wanted =
            HM_FEATURE_PAGEFAULT_WP | HM_FEATURE_WP_UNPOPULATED | HM_FEATURE_WP_ASYNC | HM_FEATURE_POISON
        var enabled: UInt64 = 0
        var descriptor = hm_uffd_open(0, wanted, &enabled)
        var reason: Int32 = 0
        var kernel = true
        if descriptor < 0 {
            reason = -descriptor
            kernel = false
            descriptor = hm_uffd_open(1, wanted, &enabled)
            if descriptor < 0 { enabled = 0 }
        }
        let pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)
        _ = hm_keep_descriptors(descriptor < 0 ? -1 : descriptor, pagemap)
        features = enabled
        servesKernel = kernel
        errnoOfOpening = reason
        isOpen = descriptor >= 0
    }

    func has(_ feature: UInt64) -> Bool { features & feature != 0 }

    /// Throws in a forked child, where the descriptors and the mappings are gone.
    static func refuseInForkedChild() throws(StoreError) {
        guard hm_is_forked_child() == 0 else {
            throw StoreError(.wrongState, "Mappings can't be used in a forked child; they stayed with its parent")
        }
    }
}
