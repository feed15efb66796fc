internal import CrashLab
internal import Glibc
internal import Varve

/// The smallest store that has something of everything: the smallest ring, one object of two pages, a task that maps it, a snapshot
/// of before its last change, and that change in the journal alone: nobody closed the store.
struct CrashlabSmallStore {
    private static let object = "object"
    private static let task = "task"
    private static let snapshot = "then"
    private static let size = 2 * CrashlabPage.size
    private static let first: UInt64 = 0x0123_4567_89ab_cdef
    private static let second: UInt64 = 0xfedc_ba98_7654_3210
    /// Where the words lie, and where the last change lies, among zeros.
    private static let firstOffset = 128
    private static let secondOffset = CrashlabPage.size + 1024

    /// Makes it and leaves it open: who calls this ends then. Prints the version of the first commit that counts, and of the last.
    static func make(in folder: String, _ console: Console) throws {
        let path = CrashlabStore.path(in: folder)
        try Store.create(path, options: .init(ringBytes: 256 << 10))
        let made = try Store.open(path)
        try made.setRetention(Retention(versions: 1, seconds: 0))
        let object = try made.createObject(named: object, size: UInt64(size))
        let mapped = try made.task(named: task)
        let address = try mapped.map(address: mapped.windowBase, size: UInt64(size), anywhere: false, object: object)
        mapped.pointer(address).storeBytes(of: first, toByteOffset: firstOffset, as: UInt64.self)
        try made.commit()
        try console.print("\(try made.version(of: .head))")
        try made.createSnapshot(snapshot)
        try console.print("\(try made.version(of: .head))")
        try made.close()
        let store = try Store.open(path)
        let again = try store.task(named: task)
        again.pointer(again.windowBase).storeBytes(of: second, toByteOffset: secondOffset, as: UInt64.self)
        try store.commit()
        try console.print("\(try store.version(of: .head))")
        // What an orderly end would write is not to be written.
        _exit(0)
    }

    private let request: CrashlabCheck.Request
    private var path: String { CrashlabStore.path(in: request.folder) }

    init(_ request: CrashlabCheck.Request) { self.request = request }

    /// As `CrashlabCheck.inspect`: `refused` and why, `ok`, or `ok` with the earlier version that it holds. Throws where it is what it
    /// never was.
    func inspect() throws -> String {
        do {
            let store = try Store.open(path, options: .init(checksOnMap: true))
            // Whatever comes of it: the next store lies in the same place.
            defer { try? store.close() }
            return try inspect(store)
        } catch let error as StoreError { return try CrashlabCheck.refusal(error) }
    }

    private func inspect(_ store: Store) throws -> String {
        let versions = request.acknowledged.compactMap { UInt64($0) }.map { Version($0) }
        guard versions.count == 3 else { throw CrashlabViolation("the lab sent \(request.acknowledged)") }
        let found = try store.version(of: .head)
        guard found <= versions[2] else { throw CrashlabViolation("version \(found) is the last, and none after \(versions[2]) was made") }
        guard found >= versions[0] else {
            try store.close()
            return "ok at version \(found), before the work"
        }
        let hasSnapshot = found >= versions[1], hasSecond = found >= versions[2]
        let names = try store.objects().map(\.name)
        guard names == [Self.object] else { throw CrashlabViolation("the objects are \(names)") }
        let snapshots = try store.snapshots().map(\.name)
        guard snapshots == (hasSnapshot ? [Self.snapshot] : []) else { throw CrashlabViolation("the snapshots are \(snapshots)") }
        try compareBytes(store, .head, hasSecond)
        if hasSnapshot { try compareBytes(store, .snapshot(Self.snapshot), false) }
        var findings: [String] = []
        _ = try store.verify { findings.append($0.description) }
        guard findings.isEmpty else { return "refused: verify: \(findings.joined(separator: "; "))" }
        try compareMap(store, .head)
        if hasSnapshot { try compareMap(store, .snapshot(Self.snapshot)) }
        let task = try store.task(named: Self.task)
        guard task.windowBase == (try store.regions(ofTask: Self.task).first?.start) else { throw CrashlabViolation("the task lies elsewhere") }
        try compare(UnsafeRawBufferPointer(start: task.pointer(task.windowBase), count: Self.size), "memory", hasSecond)
        try store.close()
        return hasSecond ? "ok" : "ok at version \(found) of \(versions[2])"
    }

    /// What the page store says.
    private func compareBytes(_ store: Store, _ at: Store.State, _ hasSecond: Bool) throws {
        let reference = Store.ObjectReference(name: Self.object, state: at)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(try store.size(of: reference)), alignment: 8)
        defer { buffer.deallocate() }
        _ = try store.read(reference, offset: 0, into: buffer)
        try compare(UnsafeRawBufferPointer(buffer), "'\(Self.object)' of \(at)", hasSecond)
    }

    /// What the catalog says.
    private func compareMap(_ store: Store, _ at: Store.State) throws {
        let names = try store.objects(at: at).map(\.name)
        guard names == [Self.object] else { throw CrashlabViolation("the objects of \(at) are \(names)") }
        let regions = try store.regions(ofTask: Self.task, at: at)
        guard regions.count == 1, let region = regions.first, region.end - region.start == UInt64(Self.size), region.objectName == Self.object,
            region.offset == 0, region.current == .default
        else { throw CrashlabViolation("the regions of \(at) are \(regions)") }
    }

    private func compare(_ bytes: UnsafeRawBufferPointer, _ what: String, _ hasSecond: Bool) throws {
        guard bytes.count == Self.size else { throw CrashlabViolation("\(what) has \(bytes.count) bytes, not \(Self.size)") }
        for offset in stride(from: 0, to: Self.size, by: 8) {
            let wanted = offset == Self.firstOffset ? Self.first : offset == Self.secondOffset && hasSecond ? Self.second : 0
            let found = bytes.load(fromByteOffset: offset, as: UInt64.self)
            guard found == wanted else { throw CrashlabViolation("\(what): byte \(offset) begins \(found), not \(wanted)") }
        }
    }
}
