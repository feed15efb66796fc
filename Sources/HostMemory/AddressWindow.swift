internal import CHostMemory
internal import Glibc
internal import Synchronization
public import VMTypes

/// A reserved range of addresses, in which mappings are placed.
///
/// The reservation takes no memory; an access to a part without a mapping raises SIGSEGV. Thread-safe. The
/// owner unmaps the mappings in it before it goes: their `unmap` would hit whoever got the addresses since. An
/// abandoned window is released with its last reference.
public final class AddressWindow: Sendable {
    /// The first address.
    public let base: UInt64
    /// The length, a whole number of pages.
    public let byteCount: Int
    private let released = Atomic<Bool>(false)

    /// Reserves a range.
    ///
    /// - Parameter base: The first address, or nil for one of the kernel's choice.
    /// - Throws: `.addressTaken`, naming what is there; `.invalid` where the range is no range of pages;
    ///   `.full` where the host has no such room.
    public init(base: UInt64?, byteCount: Int) throws(StoreError) {
        let start = base ?? 0
        guard byteCount > 0, byteCount % Page.size == 0, start % UInt64(Page.size) == 0, base != 0,
            !start.addingReportingOverflow(UInt64(byteCount)).overflow
        else {
            throw StoreError(.invalid, "No window of \(byteCount) bytes can begin at \(hexadecimal(start))")
        }
        let noReplace: Int32 = 0x100000
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (base == nil ? 0 : noReplace)
        let got: UInt64
        do {
            got = try SystemCall.map(start, byteCount, protection: PROT_NONE, flags: flags)
        } catch {
            guard error.errno == EEXIST else { throw error }
            throw Self.taken(start, byteCount)
        }
        guard base == nil || got == start else {
            try? SystemCall.unmap(got, byteCount)
            throw Self.taken(start, byteCount)
        }
        self.base = got
        self.byteCount = byteCount
        try? SystemCall.advise(got, byteCount, Int32(MADV_DONTFORK))
    }

    deinit { release() }

    /// Whether the whole range lies in the window.
    public func contains(address: UInt64, byteCount: Int) -> Bool {
        guard byteCount >= 0, address >= base else { return false }
        let offset = address - base
        return offset <= UInt64(self.byteCount) && UInt64(byteCount) <= UInt64(self.byteCount) - offset
    }

    /// Makes a range a bare reservation again. An `ExclusiveMapping` there is unmapped first, by `unmap`.
    public func clear(address: UInt64, byteCount: Int) throws(StoreError) {
        guard !released.load(ordering: .acquiring), hm_is_forked_child() == 0 else {
            throw StoreError(.wrongState, "The window at \(hexadecimal(base)) is no longer reserved")
        }
        guard byteCount > 0, contains(address: address, byteCount: byteCount),
            address % UInt64(Page.size) == 0, byteCount % Page.size == 0
        else {
            throw StoreError(
                .invalid, "\(hexadecimal(address)) + \(byteCount) is no range of pages in the window at \(hexadecimal(base))")
        }
        try SystemCall.reserve(address, byteCount)
        try? SystemCall.advise(address, byteCount, Int32(MADV_DONTFORK))
    }

    /// Gives the addresses back to the process, with all that is mapped there. A second call does nothing.
    public func release() {
        guard !released.exchange(true, ordering: .acquiringAndReleasing), hm_is_forked_child() == 0 else { return }
        try? SystemCall.unmap(base, byteCount)
    }

    private static func taken(_ base: UInt64, _ byteCount: Int) -> StoreError {
        let occupant = ProcessMaps.firstLine(overlapping: base..<base + UInt64(byteCount))
        return StoreError(
            .addressTaken,
            "The addresses \(hexadecimal(base))..<\(hexadecimal(base + UInt64(byteCount))) are taken"
                + (occupant.map { " by \($0)" } ?? ""),
            advice: "Choose another window base")
    }
}

/// An address as people write it.
func hexadecimal(_ address: UInt64) -> String { "0x" + String(address, radix: 16) }
