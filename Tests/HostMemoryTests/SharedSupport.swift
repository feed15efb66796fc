import Glibc
import HostMemory
import VMTypes

/// A shared memory with mappings in a window of their own.
final class SharedFixture {
    let window: AddressWindow
    let provider: FakeProvider
    let memory: SharedMemory
    let pageCount: Int
    private(set) var mappings: [SharedMapping] = []
    private var nextAddress: UInt64

    /// - Parameter inArena: Whether the memory is a slice of an arena, amid others.
    init(_ provider: FakeProvider, _ mode: Mode, inArena: Bool = false, mappings count: Int = 1) throws {
        self.provider = provider
        pageCount = provider.pageCount
        var arena: MemoryArena?
        if inArena {
            arena = try MemoryArena(pageCount: pageCount + 200)
            _ = try SharedMemory(
                pageCount: 7, provider: FakeProvider(("z", 7)), tracking: mode.tracking, demandFill: false, arena: arena)
        }
        memory = try SharedMemory(
            pageCount: pageCount, provider: provider, tracking: mode.tracking, demandFill: mode.demandFill, arena: arena)
        window = try AddressWindow(base: nil, byteCount: (pageCount + 3) * 4 << Page.shift)
        // Not at the beginning of a page table.
        nextAddress = window.base + UInt64(3 << Page.shift)
        for _ in 0..<count { try map() }
    }

    deinit {
        for mapping in mappings { mapping.unmap() }
        mappings = []
        window.release()
    }

    @discardableResult
    func map(
        _ pages: PageRange? = nil, protection: Protection = .default, writable: Bool = true
    ) throws -> SharedMapping {
        let pages = pages ?? PageRange(start: 0, count: pageCount)
        let made = try memory.map(at: nextAddress, pages: pages, protection: protection, writable: writable)
        nextAddress += UInt64((pages.count + 1) << Page.shift)
        mappings.append(made)
        return made
    }

    func replace(_ old: SharedMapping, with new: [SharedMapping]) {
        mappings.removeAll { $0 === old }
        mappings += new
    }
}

extension SharedMapping {
    func bytes(_ page: Int) -> [UInt8] {
        Array(UnsafeRawBufferPointer(start: pointer(toPage: page), count: Page.size))
    }

    func store(_ value: UInt8, _ page: Int, _ offset: Int = 100) {
        pointer(toPage: page).storeBytes(of: value, toByteOffset: offset, as: UInt8.self)
    }

    func take() throws -> [Int] {
        var runs: [PageRange] = []
        try takeDirty(into: &runs)
        return runs.flatMap { Array($0.start..<$0.end) }
    }

    func peek() throws -> [Int] {
        var runs: [PageRange] = []
        try peekDirty(into: &runs)
        return runs.flatMap { Array($0.start..<$0.end) }
    }
}

extension SharedMemory {
    func bytes(_ page: Int) -> [UInt8] {
        Array(UnsafeRawBufferPointer(start: pointer(toPage: page), count: Page.size))
    }
}

/// A way of mapping, and whether the memory is a slice of an arena.
struct SharedMode: Sendable, CustomStringConvertible {
    var mode: Mode
    var inArena: Bool
    var description: String { "\(mode)\(inArena ? ", in an arena" : "")" }

    static let all = Mode.all.flatMap { mode in [false, true].map { SharedMode(mode: mode, inArena: $0) } }
}
