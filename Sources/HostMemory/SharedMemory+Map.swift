internal import CHostMemory
internal import Glibc
internal import Synchronization
public import VMTypes

extension SharedMemory {
    /// Maps pages at an address of a reserved window, over what is there.
    ///
    /// - Parameters:
    ///   - address: Page-aligned.
    ///   - pages: They may reach beyond the object's end: an access there raises SIGBUS.
    ///   - protection: What accesses are allowed at first.
    ///   - writable: Whether stores are ever allowed; if not, nothing is tracked.
    /// - Throws: The provider's errors where nothing fills on demand; `.readOnly` where `protection` allows what
    ///   `writable` doesn't; `.full` at a limit of the host. The range is then a bare reservation, or untouched.
    public func map(
        at address: UInt64, pages: PageRange, protection: Protection, writable: Bool
    ) throws(StoreError) -> SharedMapping {
        guard address % UInt64(Page.size) == 0, address != 0, address < 1 << 47, pages.count > 0, pages.start >= 0,
            pages.count < 1 << 35, pages.start < 1 << 50
        else { throw StoreError(.invalid, "\(pages.text) can't be mapped at \(hexadecimal(address))") }
        let bits = try protection.checkedBits(writable: writable, at: address)
        return try locked { () throws(StoreError) in
            let arms = writable && tracking == .asyncWriteProtect
            let placement = SharedPlacement(
                address: address, pages: pages, live: pages.intersection(live), writable: writable, arms: arms,
                standard: writable && tracking == .signal ? PROT_READ | PROT_WRITE : bits)
            if !demandFill { try fillAbsent(placement.live) }
            do throws(StoreError) {
                try lay(placement, bits)
            } catch {
                placement.closeRegion()
                try? SystemCall.reserve(address, pages.count << Page.shift)
                throw error.at(address, pages)
            }
            placements[ObjectIdentifier(placement)] = placement
            MappingBudget.use(1)
            return SharedMapping(self, placement)
        }
    }

    private func lay(_ placement: SharedPlacement, _ bits: Int32) throws(StoreError) {
        let live = placement.live
        if live.count > 0 {
            let length = live.count << Page.shift
            let absent = demand.overlapping(live)
            let effective = placement.writable && tracking == .signal ? bits & ~PROT_WRITE : bits
            // Inaccessible until it is registered: nobody may read zeros meanwhile.
            try SystemCall.mapShared(
                placement.address, file, inFile(live), protection: absent.isEmpty ? effective : PROT_NONE)
            if SharedHugePages.areUsed { try? SystemCall.advise(placement.address, length, Int32(MADV_NOHUGEPAGE)) }
            if placement.arms {
                try SystemCall.register(placement.address, length, mode: HM_REGISTER_WP)
                placement.tracker = SharedAsyncTracker(
                    address: placement.address, pages: live, file: file, firstFilePage: firstFilePage)
            } else if placement.writable {
                let table = try ProtectionTable(pages: placement.pages, standard: placement.standard)
                table.set(placement.pages, bits)
                placement.protections = table
                let tracker = try SignalTracker(base: placement.address, pages: live, protections: table)
                placement.tracker = SharedSignalTracker(tracker, pages: live)
            }
            for run in absent { try register(run, in: placement) }
            if !absent.isEmpty { try SystemCall.protect(placement.address, length, effective) }
        }
        if live.count < placement.pages.count {
            let first = max(live.end, placement.pages.start)
            let start = placement.address(of: first), length = (placement.pages.end - first) << Page.shift
            try BeyondEnd.map(start, length)
            try SystemCall.advise(start, length, Int32(MADV_DONTFORK))
        }
    }
}
