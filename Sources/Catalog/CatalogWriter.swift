internal import GRDB
internal import VMTypes

/// Makes the changes of one commit, inside a transaction.
struct CatalogWriter {
    let db: Database
    let commit: CatalogCommit
    /// Changes that found nothing to change, in words.
    var notes: [String] = []

    init(db: Database, commit: CatalogCommit) {
        self.db = db
        self.commit = commit
    }

    /// The version from which the changes hold, as the database has it.
    var now: Int64 { Int64(commit.version.rawValue) }

    /// The commit's time; SQLite has no number that is not finite.
    var time: Double { commit.time.isFinite ? commit.time : 0 }

    mutating func perform() throws {
        for change in commit.changes.dropLast(Mutant.isPlanted(.lastChangeLeftOut) && commit.changes.count > 1 ? 1 : 0) { try perform(change) }
        try db.run(
            "INSERT OR REPLACE INTO commits (version, time, message, pages, bytes, kinds) VALUES (?, ?, ?, ?, ?, ?)",
            [
                now, time, Self.storable(commit.message), commit.pages, commit.bytes,
                CatalogChangeKinds(of: commit.changes).rawValue,
            ])
    }

    mutating func note(_ text: String) { notes.append("version \(commit.version): \(text)") }

    /// `message` without zero bytes, at which SQLite's text would end.
    static func storable(_ message: String) -> String {
        guard message.utf8.contains(0) else { return message }
        return String(String.UnicodeScalarView(message.unicodeScalars.map { $0 == "\0" ? "\u{fffd}" : $0 }))
    }

    private mutating func perform(_ change: CatalogChange) throws {
        switch change {
        case .createObject(let id, let name, let size, let residency):
            try createObject(id, name: name, size: size, residency: residency)
        case .renameObject(let id, let name): try updateObject(id, doing: "rename") { $0.name = name }
        case .resizeObject(let id, let size): try updateObject(id, doing: "resize") { $0.size = size }
        case .deleteObject(let id): try deleteObject(id)
        case .createTask(let id, let name, let base, let size): try createTask(id, name: name, base: base, size: size)
        case .deleteTask(let id): try deleteTask(id)
        case .setEntries(let task, let start, let end, let entries):
            try setEntries(of: task, start: start, end: end, to: entries)
        case .createSnapshot(let name, let version, let object, let message):
            try createSnapshot(name, version: version, object: object, message: message)
        case .deleteSnapshot(let name): try deleteSnapshot(name)
        case .renameSnapshot(let from, let to): try renameSnapshot(from, to: to)
        case .rollback(let version): try rollback(to: version)
        }
    }
}
