internal import CHostMemory
internal import Glibc
internal import Synchronization
internal import VMTypes

/// The part of a mapping that the fault service sees: where absent pages get their bytes.
///
/// `state` guards every placing of pages. Its holder makes system calls on mappings only: it never touches the
/// memory and never calls the provider, so that whoever waits for a page waits for nothing else.
final class DemandRegion: Sendable {
    struct State {
        /// Set by unmapping: nothing is placed any more.
        var isClosed = false
        /// Counts what replaced present pages. Bytes fetched before a change are stale and fetched again.
        var generation = 0
        /// Pages that could not be filled: an access raises SIGBUS.
        var poisoned: Set<Int> = []
        var lastError: StoreError?
        /// Which pages are filled.
        var plan: MappingPlan
        /// Private pages that were placed and have not been traded since, by the kernel's page table.
        var placed: [UInt64: Int] = [:]
    }

    let base: UInt64
    let pages: PageRange
    let provider: any PageProvider
    /// The provider, where it must be waited for.
    let waiting: (any WaitingPageProvider)?
    /// Whether pages are placed write-protected.
    let arms: Bool
    /// The memory file that is mapped, and the page of it that is the object's page 0; nil for private memory.
    let file: (descriptor: Int32, firstPage: Int)?
    let state: Mutex<State>

    init(
        base: UInt64, pages: PageRange, plan: MappingPlan, provider: any PageProvider, arms: Bool,
        file: (descriptor: Int32, firstPage: Int)? = nil
    ) {
        self.base = base
        self.pages = pages
        state = Mutex(State(plan: plan))
        self.provider = provider
        waiting = provider as? any WaitingPageProvider
        self.arms = arms
        self.file = file
    }

    func contains(_ address: UInt64) -> Bool {
        address >= base && (address - base) >> UInt64(Page.shift) < UInt64(pages.count)
    }

    /// Names the kernel's page table of a page.
    func table(of page: Int) -> UInt64 { address(of: page) >> 21 }

    func address(of page: Int) -> UInt64 { base + UInt64(page - pages.start) << UInt64(Page.shift) }

    /// Fills the absent pages around `faultAddress` and wakes whoever waits for them.
    func serve(
        _ faultAddress: UInt64, _ scratch: borrowing FillBuffer, _ scanner: borrowing PagemapScanner, _ pace: ReadPace
    ) {
        let page = pages.start + Int((faultAddress - base) >> UInt64(Page.shift))
        guard let area = state.withLock({ $0.plan.area(holding: page) }), area.backing == .demand else {
            return SystemCall.wake(faultAddress, Page.size)
        }
        let size = FillBuffer.pages
        let first = page - Int(address(of: page) >> UInt64(Page.shift)) & (size - 1)
        let window = PageRange(start: first, count: size).intersection(area.pages)
        if fill(window, for: page, scratch, scanner, pace) != nil {
            // A neighbour's failure must not be this page's.
            if let error = fill(PageRange(start: page, count: 1), for: page, scratch, scanner) {
                poison(page, error)
            }
        }
        SystemCall.wake(address(of: window.start), window.count << Page.shift)
    }
}
