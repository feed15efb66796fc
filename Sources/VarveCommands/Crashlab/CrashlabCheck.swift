internal import CrashLab
internal import Glibc
internal import Synchronization
internal import Varve

/// Compares what a crash left with what a seed's work had been promised.
struct CrashlabCheck {
    typealias Violation = CrashlabViolation

    /// A folder, the seed of its work, and what had been acknowledged.
    struct Request {
        var folder: String
        var seed: UInt64
        var acknowledged: [String]
    }

    let folder: String
    let seed: UInt64
    let acknowledged: [String]
    /// Whether the store is worked with afterwards, too.
    let goesOn: Bool
    /// Whether the files were damaged: then an earlier version may be the last.
    private var isDamaged = false

    init(_ request: Request, goesOn: Bool) {
        folder = request.folder
        seed = request.seed
        acknowledged = request.acknowledged
        self.goesOn = goesOn
    }

    func run() throws {
        let path = CrashlabStore.path(in: folder)
        if acknowledged.isEmpty, access(path, F_OK) != 0 { return }
        guard acknowledged.contains(where: { $0.first?.isNumber == true }) else { return try checkUnfinished(path) }
        let open = try CrashlabStore(in: folder)
        let found = try open.store.version(of: .head)
        let (model, inFlight) = try expected(found)
        // First as recovery left it: what verifies settles. Memory is read where the map says that there is some.
        try compareMap(open.store, model.state, .head)
        try compareMemory(open, model.state)
        try compareWords(open, model.state)
        try compareObjects(open.store, model.state, .head)
        try compareSnapshots(open.store, model)
        try verify(open.store)
        if goesOn { try goOn(open, model, found) }
        try open.close()
        try compareCopies(model, inFlight)
    }

    /// Where the work had not said that it begins, any part of making the first state may be there, if it is sound.
    private func checkUnfinished(_ path: String) throws {
        let store = try Store.open(path)
        let found = try store.version(of: .head)
        let durable = try CrashlabPromises(acknowledged).durable
        guard found >= durable else { throw Violation("version \(found) is the last, and \(durable) was durable") }
        try verify(store)
        try store.close()
    }

    /// Looks at a store whose files somebody changed: `refused` and why where it says so itself, `ok` where what it holds is what it
    /// held at some version. Throws where it is not. Nothing is loaded from memory that was not checked before.
    func inspect() throws -> String {
        var check = self
        check.isDamaged = true
        do {
            let store = try Store.open(CrashlabStore.path(in: folder), options: .init(checksOnMap: true))
            // Whatever comes of it: the next store lies in the same place.
            defer { try? store.close() }
            return try check.inspect(store)
        } catch let error as StoreError { return try Self.refusal(error) }
    }

    /// What a store said of itself; who has it open is no matter of its files.
    static func refusal(_ error: StoreError) throws -> String {
        guard ![.busy, .locked].contains(error.code) else { throw Violation("the store is not free: \(error)") }
        return "refused: \(error)"
    }

    private func inspect(_ store: Store) throws -> String {
        let promises = try CrashlabPromises(acknowledged)
        let found = try store.version(of: .head)
        guard let first = promises.work.first, found >= first else { return "ok at version \(found), before the work" }
        let (model, _) = try expected(found)
        try compareObjects(store, model.state, .head)
        try compareSnapshots(store, model)
        do { try verify(store) } catch { return "refused: \(error)" }
        let open = try CrashlabStore(store)
        do {
            try compareMap(store, model.state, .head)
            try compareMemory(open, model.state)
            try compareWords(open, model.state)
        } catch {
            try? open.heap.close()
            throw error
        }
        try open.close()
        return found < promises.durable ? "ok at version \(found) of \(promises.durable)" : "ok"
    }

    private func verify(_ store: Store) throws {
        var findings: [String] = []
        _ = try store.verify { findings.append($0.description) }
        guard findings.isEmpty else { throw Violation("verify: \(findings.joined(separator: "; "))") }
    }

    /// The model at the version that was recovered, which must be one that may be; and the step that may have been under way.
    private func expected(_ found: Version) throws -> (CrashlabModel, CrashlabModel.Step?) {
        let promises = try CrashlabPromises(acknowledged)
        guard isDamaged || found >= promises.durable else { throw Violation("version \(found) is the last, and \(promises.durable) was durable") }
        guard let first = promises.recoveries.first, found >= first.found else { return try expected(found, promises.work) }
        var (model, _) = try expected(first.found, promises.work)
        for (index, recovery) in promises.recoveries.enumerated() {
            let next = index + 1 < promises.recoveries.count ? promises.recoveries[index + 1].found : found
            try goOn(&model, from: recovery, to: next)
        }
        return (model, nil)
    }

    /// What a process had made that came after a cut or a kill, at a version that may be found of it.
    private func goOn(_ model: inout CrashlabModel, from recovery: CrashlabPromises.Recovery, to found: Version) throws {
        let made = recovery.extras.filter { $0 <= found }
        for number in 0..<made.count { model.applyExtra(number + 1, after: recovery.found) }
        guard found > made.last ?? recovery.found else { return }
        guard made.count == recovery.extras.count, made.count < CrashlabModel.extraCount else {
            throw Violation("version \(found) was never made")
        }
        model.applyExtra(made.count + 1, after: recovery.found)
    }

    /// The model at a version of the work's.
    private func expected(_ found: Version, _ promised: [Version]) throws -> (CrashlabModel, CrashlabModel.Step?) {
        let history = CrashlabHistory.of(seed: seed)
        guard promised.count <= history.models.count else { throw Violation("\(promised.count) versions were told of \(CrashlabModel.stepCount) steps") }
        // Those that were told ascend.
        let last = promised.lastIndex { $0 <= found } ?? 0
        let version = promised[last]
        guard last == promised.count - 1 else {
            guard version == found else { throw Violation("version \(found) is between those that were made") }
            return (history.models[last], nil)
        }
        let inFlight = last < history.steps.count ? history.steps[last] : nil
        guard found > version else { return (history.models[last], inFlight) }
        guard inFlight != nil else { throw Violation("version \(found) was never made") }
        return (history.models[last + 1], inFlight)
    }

    private func compareObjects(_ store: Store, _ expected: CrashlabState, _ at: Store.State, only: String? = nil) throws {
        // A snapshot of one object keeps no other.
        if only == nil {
            let names = try store.objects(at: at).map(\.name).filter { !$0.isEmpty && $0 != CrashlabStore.heap }
            guard names.sorted() == expected.objects.keys.sorted() else {
                throw Violation("the objects of \(at) are \(names.sorted()), not \(expected.objects.keys.sorted())")
            }
        }
        for (name, object) in expected.objects where only == nil || name == only {
            let reference = Store.ObjectReference(name: name, state: at)
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(try store.size(of: reference)), alignment: 8)
            defer { buffer.deallocate() }
            _ = try store.read(reference, offset: 0, into: buffer)
            let difference = CrashlabPage.difference(UnsafeRawBufferPointer(buffer), object)
            if let difference { throw Violation("'\(name)' of \(at): \(difference)") }
        }
    }

    private func compareSnapshots(_ store: Store, _ model: CrashlabModel) throws {
        let names = Set(try store.snapshots().map(\.name))
        guard names == Set(model.snapshots.keys) else {
            throw Violation("the snapshots are \(names.sorted()), not \(model.snapshots.keys.sorted())")
        }
        for (name, snapshot) in model.snapshots {
            try compareObjects(store, snapshot.state, .snapshot(name), only: snapshot.object)
            if snapshot.object == nil { try compareMap(store, snapshot.state, .snapshot(name)) }
        }
        try compareMap(store, model.state, .head)
    }

    private func compareMap(_ store: Store, _ expected: CrashlabState, _ at: Store.State) throws {
        let regions = try store.regions(ofTask: CrashlabStore.task, at: at)
        let slots = expected.regions.keys.sorted()
        guard regions.count == slots.count, let base = regions.first?.start else {
            throw Violation("the task has \(regions.count) regions in \(at), not \(slots.count)")
        }
        for (region, slot) in zip(regions, slots) {
            let wanted = expected.regions[slot]!
            let count = expected.content(of: wanted).pageCount
            guard region.start == base + UInt64(slot) * CrashlabModel.slotBytes,
                region.end == region.start + UInt64(count * CrashlabPage.size), region.objectName == wanted.object ?? "",
                region.current == (wanted.isReadOnly ? .read : .default)
            else { throw Violation("the region at slot \(slot) of \(at) is \(region), not \(wanted)") }
        }
    }

    private func compareMemory(_ open: CrashlabStore, _ expected: CrashlabState) throws {
        for (slot, region) in expected.regions {
            let content = expected.content(of: region)
            let bytes = UnsafeRawBufferPointer(
                start: open.task.pointer(open.address(slot)), count: content.pageCount * CrashlabPage.size)
            if let difference = CrashlabPage.difference(bytes, content) { throw Violation("memory at slot \(slot): \(difference)") }
        }
    }

    private func compareWords(_ open: CrashlabStore, _ expected: CrashlabState) throws {
        let report = try open.heap.check()
        guard report.problems.isEmpty else { throw Violation("the heap: \(report.problems.prefix(3))") }
        var found: [Int: Int] = [:]
        for (key, value) in open.words { found[key] = value }
        guard found == expected.words else {
            let keys = Set(found.keys).union(expected.words.keys).sorted().filter { found[$0] != expected.words[$0] }
            throw Violation("\(keys.count) of the heap's words differ, the first under \(keys[0])")
        }
    }

    /// Copies and exported files are there and whole; those that were being made are whole or not there.
    private func compareCopies(_ model: CrashlabModel, _ inFlight: CrashlabModel.Step?) throws {
        for (name, state) in model.backups { try compareBackup(name, state) }
        for (name, object) in model.exports { try compareExport(name, object) }
        switch inFlight {
        case .backUp(let name) where access("\(folder)/\(name)", F_OK) == 0: try compareBackup(name, model.state)
        case .export(let object, let name) where access("\(folder)/\(name)", F_OK) == 0:
            try compareExport(name, model.state.objects[object]!)
        default: break
        }
    }

    /// A copy that this process has found sound: its bytes, and whose it is, which says what it had to hold.
    private struct SoundCopy: Hashable {
        var hash: UInt64
        var seed: UInt64
        var name: String
    }

    private static let soundCopies = Mutex<Set<SoundCopy>>([])

    private func compareBackup(_ name: String, _ state: CrashlabState) throws {
        do {
            // Most images of a run hold the same copy.
            let copy = SoundCopy(hash: try FolderImage(of: "\(folder)/\(name)").hash, seed: seed, name: name)
            guard Self.soundCopies.withLock({ !$0.contains(copy) }) else { return }
            let store = try Store.open("\(folder)/\(name)")
            try compareObjects(store, state, .head)
            try compareMap(store, state, .head)
            try verify(store)
            try store.close()
            Self.soundCopies.withLock { copies in
                if copies.count > 100 { copies.removeAll() }
                copies.insert(copy)
            }
        } catch { throw Violation("the copy '\(name)': \(error)") }
    }

    private func compareExport(_ name: String, _ object: CrashlabState.Object) throws {
        let path = "\(folder)/\(name)"
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Violation("the exported file '\(name)' is not there") }
        defer { Glibc.close(descriptor) }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: object.pageCount * CrashlabPage.size + 1, alignment: 8)
        defer { buffer.deallocate() }
        let count = max(0, pread(descriptor, buffer.baseAddress!, buffer.count, 0))
        if let difference = CrashlabPage.difference(UnsafeRawBufferPointer(rebasing: buffer[..<count]), object) {
            throw Violation("the exported file '\(name)': \(difference)")
        }
    }

    /// The store takes and keeps a new commit, and moves what it holds, without changing what it held.
    private func goOn(_ open: CrashlabStore, _ model: CrashlabModel, _ found: Version) throws {
        var state = model.state
        if let slot = state.regions.keys.sorted().first(where: { !state.regions[$0]!.isReadOnly }) {
            CrashlabPage.fill(open.task.pointer(open.address(slot)), 77)
            if let name = state.regions[slot]!.object { state.objects[name]!.pages[0] = 77 } else {
                state.regions[slot]!.memory.pages[0] = 77
            }
        }
        open.words[1000] = 1
        let version = try open.heap.commit()
        guard version > found else { throw Violation("version \(version) was made after \(found)") }
        try open.store.reclaim()
        try compareObjects(open.store, state, .head)
        try compareSnapshots(open.store, CrashlabModel(state, model.snapshots))
        try compareMemory(open, state)
    }
}
