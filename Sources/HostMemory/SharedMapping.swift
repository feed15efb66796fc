internal import CHostMemory
internal import Glibc
internal import Synchronization
public import VMTypes

/// Pages of a `SharedMemory`, mapped at one place.
///
/// Thread-safe: its memory serializes the calls. Stores and loads by other threads need no lock. It keeps its memory
/// alive, and unmaps itself with its last reference.
public final class SharedMapping: @unchecked Sendable {
    /// Where the first page is.
    public let address: UInt64
    /// The object's pages that are mapped.
    public let pages: PageRange
    /// What is mapped.
    public let memory: SharedMemory
    /// Whether stores are allowed at all; if not, nothing is tracked.
    public let writable: Bool

    let placement: SharedPlacement

    init(_ memory: SharedMemory, _ placement: SharedPlacement) {
        self.memory = memory
        self.placement = placement
        address = placement.address
        pages = placement.pages
        writable = placement.writable
    }

    deinit { unmap() }

    /// Where a page of the object is in memory. The pointer is valid until the page is unmapped.
    public func pointer(toPage page: Int) -> UnsafeMutableRawPointer {
        SystemCall.pointer(address &+ UInt64(bitPattern: Int64(page - pages.start)) << UInt64(Page.shift))!
    }

    /// Sets what accesses to the pages are allowed; the hardware enforces it.
    ///
    /// What was stored before stays dirty. Pages beyond the object's end may be named; they raise SIGBUS or SIGSEGV.
    ///
    /// - Throws: `.readOnly` for write access to a read-only mapping; `.full` at the host's limit of mappings.
    public func protect(_ pages: PageRange, _ protection: Protection) throws(StoreError) {
        let bits = try protection.checkedBits(writable: writable, at: address)
        try working(on: pages) { () throws(StoreError) in
            let live = pages.intersection(placement.live)
            if live.count > 0 {
                if pages != self.pages, placement.protections == nil {
                    placement.protections = try ProtectionTable(pages: self.pages, standard: placement.standard)
                }
                if let tracker = placement.tracker {
                    try tracker.protect(live, bits)
                } else {
                    try SystemCall.protect(placement.address(of: live.start), live.count << Page.shift, bits)
                }
                if placement.tracker is SharedSignalTracker {
                    // Its tracker keeps the table.
                } else if pages == self.pages {
                    placement.protections = nil
                    placement.standard = bits
                } else {
                    placement.protections?.set(live, bits)
                }
            }
            let beyond = max(pages.start, placement.live.end)
            if beyond < pages.end {
                try SystemCall.protect(placement.address(of: beyond), (pages.end - beyond) << Page.shift, bits)
            }
        }
    }

    /// Appends, in order, the runs of pages stored to through this mapping since the last call, and re-arms them.
    ///
    /// A store that is not ordered before the call is found by this call or by the next. Pages may be reported that hold
    /// what they held: at first, pages that were only read. A page stored to is never left out.
    ///
    /// - Throws: `.io` where the host's calls fail. Runs appended before the throw are re-armed: treat them as dirty.
    public func takeDirty(into runs: inout [PageRange]) throws(StoreError) {
        try working(on: pages) { () throws(StoreError) in try placement.tracker?.take(into: &runs) }
        if Mutant.isPlanted(.lastDirtyPageForgotten), let last = runs.last, last.count > 1 { runs[runs.count - 1].count -= 1 }
    }

    /// Appends the same runs without re-arming them.
    public func peekDirty(into runs: inout [PageRange]) throws(StoreError) {
        try working(on: pages) { () throws(StoreError) in try placement.tracker?.peek(into: &runs) }
    }

    /// Makes exactly these pages clean for this mapping, without looking: for stores that were declared.
    public func rearm(_ pages: PageRange) throws(StoreError) {
        try working(on: pages) { () throws(StoreError) in
            let live = pages.intersection(placement.live)
            if live.count > 0 { try placement.tracker?.rearm(live) }
        }
    }

    /// Runs `body` under the memory's lock, where `pages` are mapped by this mapping.
    func working<Result>(on pages: PageRange, _ body: () throws(StoreError) -> Result) throws(StoreError) -> Result {
        guard pages.isWithin(self.pages) else {
            throw StoreError(.invalid, "\(pages.text) are not within the mapped \(self.pages)")
        }
        return try memory.locked { () throws(StoreError) in
            guard placement.isMapped else {
                throw StoreError(.wrongState, "The mapping at \(hexadecimal(address)) was unmapped")
            }
            do throws(StoreError) {
                return try body()
            } catch {
                throw error.errno == nil ? error : error.at(address, self.pages)
            }
        }
    }
}
