internal import Varve

/// The demo's steps, in order, on one store.
final class DemoRun {
    static let object = "file"
    let steps: DemoSteps
    let file: String
    let storePath: String
    let exportPath: String
    let executable: String?
    let kills: Int
    let seed: UInt64

    init(
        steps: DemoSteps, file: String, storePath: String, exportPath: String, executable: String?, kills: Int,
        seed: UInt64
    ) {
        self.steps = steps
        self.file = file
        self.storePath = storePath
        self.exportPath = exportPath
        self.executable = executable
        self.kills = kills
        self.seed = seed
    }

    /// Performs all of it; a step that does not hold does not keep the next ones from being tried.
    func perform() throws {
        try steps.step("create") {
            try Store.create(storePath)
            return .init(text: "a new store")
        }
        var store = try Store.open(storePath)
        do {
            let imported = try importFile(store)
            let pattern = DemoPattern(seed: seed, size: Int(imported.size))
            let edited = try editMapped(store, imported, pattern)
            for round in 0..<kills {
                let before = "before-kill-\(round + 1)"
                try store.createSnapshot(before)
                try store.close()
                store = try killAndRecover(round, before: before, pattern)
            }
            try compare(store, pattern)
            try rollBack(store, pattern, edited: edited)
            try export(store)
            try verify(store)
        } catch {
            try? store.close()
            throw error
        }
        try store.close()
    }

    private func importFile(_ store: Store) throws -> ObjectInfo {
        var imported: ObjectInfo?
        try steps.step("import") {
            let report = try store.importFile(file, named: Self.object, message: "import \(file)")
            guard report.bytes > 0 else {
                throw StoreError(.invalid, "there is nothing in the file", advice: "Name another one", path: file)
            }
            imported = report.object
            try store.createSnapshot("imported")
            return .init(
                text: "\(ByteSize.text(report.bytes)), \(report.dataPages) pages of data, version \(report.version)",
                figures: [("bytes", .unsigned(report.bytes)), ("data_pages", .integer(report.dataPages))], seconds: report.seconds)
        }
        return imported!
    }

    /// Maps the object, changes it twice by plain stores; returns the digest of what the snapshot `edited` holds.
    private func editMapped(_ store: Store, _ imported: ObjectInfo, _ pattern: DemoPattern) throws -> UInt64 {
        let task = try store.task(named: DemoTask.name)
        var address: UInt64 = 0
        try steps.step("map") {
            address = try task.map(size: UInt64(pattern.size), object: imported)
            let equal = try FileComparison.equal(file, UnsafeRawBufferPointer(start: task.pointer(address), count: pattern.size))
            return .init(
                holds: equal,
                text: "vm_map into task '\(task.name)' at \(hexadecimal(address)); reads \(equal ? "exactly as" : "OTHERWISE than") the file",
                figures: [("address", .string(hexadecimal(address)))])
        }
        let base = task.pointer(address)
        var edited: UInt64 = 0
        try edit(store, "edit", snapshot: "edited") { pattern.invertLines(first: 0, stride: 7, at: base) }
        edited = Digest.of(UnsafeRawBufferPointer(start: base, count: pattern.size))
        try edit(store, "edit-more", snapshot: nil) { pattern.invertLines(first: 3, stride: 5, at: base) }
        return edited
    }

    private func edit(_ store: Store, _ name: String, snapshot: String?, _ change: () -> [Int]) throws {
        try steps.step(name) {
            let pages = change()
            let (version, seconds) = try Times.measure { try store.commit(message: name, snapshot: snapshot) }
            return .init(
                text: "plain writes to \(pages.count) pages, committed as version \(version)"
                    + (snapshot.map { ", snapshot '\($0)'" } ?? ""),
                figures: [("pages", .integer(pages.count)), ("version", .unsigned(version.rawValue))], seconds: seconds)
        }
    }

    /// Compares what `diff` says with what reading both states says.
    private func compare(_ store: Store, _ pattern: DemoPattern) throws {
        try steps.step("compare") {
            let (differences, seconds) = try Times.measure {
                try store.diff(.snapshot("edited"), .head, object: Self.object)
            }
            let said = Set(differences.flatMap { $0.pages.flatMap { $0.start..<$0.end } })
            let read = try StateReader(store, object: Self.object, size: pattern.size)
                .pagesThatDiffer(between: .snapshot("edited"), and: .head)
            let bytes = differences.reduce(0) { $0 + $1.changedBytes }
            return .init(
                holds: said == read,
                text: "\(said.count) pages (\(ByteSize.text(bytes))) differ from snapshot 'edited'"
                    + (said == read ? ", as reading both says" : "; reading both says \(read.count)"),
                figures: [("pages", .integer(said.count)), ("bytes", .integer(bytes))], seconds: seconds)
        }
    }

    private func rollBack(_ store: Store, _ pattern: DemoPattern, edited: UInt64) throws {
        let task = try DemoTask.attach(store, object: Self.object)
        try steps.step("rollback") {
            let (version, seconds) = try Times.measure {
                try store.rollback(to: .snapshot("edited"), object: Self.object)
            }
            let inPlace = Digest.of(UnsafeRawBufferPointer(start: task.base, count: pattern.size)) == edited
            let left = try store.diff(.snapshot("edited"), .head, object: Self.object)
            return .init(
                holds: inPlace && left.isEmpty,
                text: "to snapshot 'edited', as version \(version); the mapped memory "
                    + (inPlace ? "is exactly what it was then" : "is NOT what it was then"),
                figures: [("version", .unsigned(version.rawValue))], seconds: seconds)
        }
    }

    private func export(_ store: Store) throws {
        try steps.step("export") {
            let reference = Store.ObjectReference(name: Self.object, state: .snapshot("imported"))
            let report = try store.export(reference, to: exportPath)
            let equal = try FileComparison.equal(file, exportPath)
            return .init(
                holds: equal,
                text: "snapshot 'imported', \(ByteSize.text(report.bytes)): \(equal ? "bit by bit the original" : "NOT the original")",
                figures: [("bytes", .unsigned(report.bytes))], seconds: report.seconds)
        }
    }

    private func verify(_ store: Store) throws {
        try steps.step("verify") {
            var damage = 0
            let summary = try store.verify { if $0.severity == .damage { damage += 1 } }
            return .init(
                holds: damage == 0,
                text: "\(summary.pagesChecked) pages and \(summary.journalRecords) journal records checked, "
                    + (damage == 0 ? "all intact" : "\(damage) DAMAGED"),
                figures: [("pages_checked", .integer(summary.pagesChecked)), ("damage", .integer(damage))])
        }
    }

    func hexadecimal(_ address: UInt64) -> String { "0x" + String(address, radix: 16) }
}
