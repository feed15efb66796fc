internal import Glibc

/// What the allocator of one mapped heap knows besides what the heap's own bytes say; gone with the process.
///
/// Invariant: its tables lie in one private mapping of zeros, each as long as the heap's geometry asks for, alive as long as this
/// object. A table takes memory where it was written.
final class VolatileTables: @unchecked Sendable {
    /// A byte a page: the page was declared since the last commit.
    let declared: UnsafeMutablePointer<UInt8>
    /// A byte for each 64 pages: one of them was declared.
    let declaredGroups: UnsafeMutablePointer<UInt8>
    /// A byte for each 4096 groups, a GiB: one of their pages was declared.
    let declaredRegions: UnsafeMutablePointer<UInt8>
    /// A byte a unit: its span's class, with the mark of a continuation, once the span has been looked at, else 0.
    let known: UnsafeMutablePointer<UInt8>
    /// A bit a granule, valid in spans that are known: the block is allocated, or in a thread's cache.
    let taken: UnsafeMutablePointer<UInt64>
    /// A note a unit, of the span that begins there.
    let notes: UnsafeMutablePointer<SpanNote>
    /// Numbers that the index of free runs keeps for each unit.
    let runs: UnsafeMutablePointer<RunIndex.Node>
    let pageCount: Int
    private let memory: UnsafeMutableRawPointer
    private let byteCount: Int

    init(_ geometry: HeapGeometry) throws(HeapError) {
        pageCount = (geometry.capacity + 4095) >> 12
        let groups = (pageCount + 63) >> 6
        let sizes = [
            pageCount, groups, (groups >> 12) + 1, geometry.unitCount, geometry.unitCount * HeapFormat.granulesPerUnit / 8,
            geometry.unitCount * MemoryLayout<SpanNote>.stride, (geometry.unitCount + 1) * MemoryLayout<RunIndex.Node>.stride,
        ].map { HeapGeometry.round($0, to: 4096) }
        byteCount = sizes.reduce(0, +)
        let made = mmap(
            nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let made, made != MAP_FAILED else {
            throw HeapError(.full, "the host has no \(byteCount) bytes of addresses for the heap's tables: errno \(errno)")
        }
        memory = made
        var next = made
        func take(_ index: Int) -> UnsafeMutableRawPointer {
            defer { next += sizes[index] }
            return next
        }
        declared = take(0).assumingMemoryBound(to: UInt8.self)
        declaredGroups = take(1).assumingMemoryBound(to: UInt8.self)
        declaredRegions = take(2).assumingMemoryBound(to: UInt8.self)
        known = take(3).assumingMemoryBound(to: UInt8.self)
        taken = take(4).assumingMemoryBound(to: UInt64.self)
        notes = take(5).assumingMemoryBound(to: SpanNote.self)
        runs = take(6).assumingMemoryBound(to: RunIndex.Node.self)
    }

    deinit { munmap(memory, byteCount) }

    /// Forgets every declared page, after handing the runs of them on, in order.
    func takeDeclared(_ body: (_ firstPage: Int, _ count: Int) -> Void) {
        var start = -1
        var end = -1
        let groups = (pageCount + 63) >> 6
        for region in 0...groups >> 12 where declaredRegions[region] != 0 {
            declaredRegions[region] = 0
            for group in region << 12..<min(groups, (region + 1) << 12) where declaredGroups[group] != 0 {
                declaredGroups[group] = 0
                for page in group << 6..<min(pageCount, (group + 1) << 6) where declared[page] != 0 {
                    declared[page] = 0
                    if page != end {
                        if end > start { body(start, end - start) }
                        start = page
                    }
                    end = page + 1
                }
            }
        }
        if end > start { body(start, end - start) }
    }

    /// Whether a page was declared since the last commit.
    var hasDeclared: Bool { memchr(declaredRegions, 1, ((pageCount + 63) >> 18) + 1) != nil }

    /// Notes a page as declared.
    @inline(__always)
    func declare(_ page: Int) {
        declaredRegions[page >> 18] = 1
        declaredGroups[page >> 6] = 1
        declared[page] = 1
    }
}
