internal import CHostMemory
internal import Glibc
internal import Synchronization
internal import VMTypes

/// Where pages of a shared memory are mapped. All of it is guarded by the memory's lock.
final class SharedPlacement {
    let address: UInt64
    let pages: PageRange
    /// The pages before the object's end.
    let live: PageRange
    let writable: Bool
    /// Whether pages are placed write-protected.
    let arms: Bool
    /// Nil for a read-only mapping, or one without live pages.
    var tracker: (any SharedTracker)?
    /// Serves its demand faults; nil as long as none can come.
    var region: DemandRegion? {
        didSet { (tracker as? SharedAsyncTracker)?.region = region }
    }
    /// What was asked for, by page, once a part has another protection than the rest.
    var protections: ProtectionTable?
    /// What was asked for, where `protections` is nil.
    var standard: Int32
    var isMapped = true

    init(address: UInt64, pages: PageRange, live: PageRange, writable: Bool, arms: Bool, standard: Int32) {
        self.address = address
        self.pages = pages
        self.live = live
        self.writable = writable
        self.arms = arms
        self.standard = standard
    }

    func address(of page: Int) -> UInt64 { address + UInt64(page - pages.start) << UInt64(Page.shift) }

    func protection(of page: Int) -> Int32 { protections?.bits(page) ?? standard }

    /// Nothing is placed any more once this returns.
    func closeRegion() {
        guard let region else { return }
        region.state.withLock { $0.isClosed = true }
        FaultService.remove(region)
        self.region = nil
    }
}
