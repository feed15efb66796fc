import Glibc
import HostMemory
import VMTypes

/// One way of mapping.
struct Mode: Sendable, CustomStringConvertible {
    var tracking: DirtyTracking
    var demandFill: Bool

    var description: String { "\(tracking), \(demandFill ? "on demand" : "copied")" }

    /// All that work here.
    static let all: [Mode] = DirtyTracking.allCases.flatMap { tracking in
        [true, false].map { Mode(tracking: tracking, demandFill: $0) }
    }.filter { mode in
        let host = HostCapabilities.current
        return (mode.tracking == .signal || host.asyncWriteProtect) && (!mode.demandFill || host.demandFaults)
    }
}

/// A mapping in a window of its own. The mapping goes first: its addresses are the window's.
final class Fixture {
    let window: AddressWindow
    let provider: FakeProvider
    let mapping: ExclusiveMapping

    init(_ provider: FakeProvider, _ mode: Mode, writable: Bool = true, minimumRun: Int = 16, offset: Int = 0) throws {
        self.provider = provider
        let count = provider.pageCount
        window = try AddressWindow(base: nil, byteCount: (count + offset) << Page.shift)
        mapping = try ExclusiveMapping(
            address: window.base + UInt64(offset << Page.shift), pages: PageRange(start: 0, count: count),
            provider: provider, writable: writable, tracking: mode.tracking, demandFill: mode.demandFill,
            minimumRun: minimumRun)
    }

    deinit {
        mapping.unmap()
        window.release()
    }

    func bytes(_ page: Int) -> [UInt8] {
        Array(UnsafeRawBufferPointer(start: mapping.pointer(toPage: page), count: Page.size))
    }

    func store(_ value: UInt8, _ page: Int, _ offset: Int = 100) {
        mapping.pointer(toPage: page).storeBytes(of: value, toByteOffset: offset, as: UInt8.self)
    }

    func take() throws -> [Int] {
        var runs: [PageRange] = []
        try mapping.takeDirty(into: &runs)
        return runs.flatMap { Array($0.start..<$0.end) }
    }

    func peek() throws -> [Int] {
        var runs: [PageRange] = []
        try mapping.peekDirty(into: &runs)
        return runs.flatMap { Array($0.start..<$0.end) }
    }
}

/// The mixed object of most tests: zeros, long and short runs of the file, filled pages, in every order.
func mixedLayout() -> [Character] {
    let pieces: [(Character, Int)] = [
        ("z", 100), ("f", 40), ("p", 3), ("f", 5), ("z", 2), ("p", 70), ("f", 20), ("z", 600), ("p", 1), ("f", 16),
        ("f", 15), ("z", 1), ("p", 130), ("z", 65),
    ]
    return pieces.flatMap { Array(repeating: $0.0, count: $0.1) }
}

/// For children of exit tests: a hang must end, and a crash needs no report.
func guardChild() {
    alarm(10)
    signal(SIGSEGV, SIG_DFL)
    signal(SIGBUS, SIG_DFL)
}
