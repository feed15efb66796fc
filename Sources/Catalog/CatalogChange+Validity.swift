internal import VMTypes

extension CatalogChange {
    /// What is malformed about the change, or nil.
    ///
    /// `Catalog.apply` refuses a malformed change, so whoever commits one asks first. It says nothing about
    /// whether the change fits the catalog's state.
    public var problem: String? {
        switch self {
        case .createObject(_, let name?, _, _), .renameObject(_, let name?): Self.problem(name: name)
        case .createTask(_, let name, _, _): Self.problem(name: name)
        case .createSnapshot(let name, let version, _, _):
            Self.problem(name: name) ?? (version.fitsCatalog ? nil : "version \(version) is out of range")
        case .deleteSnapshot(let name): Self.problem(name: name)
        case .renameSnapshot(let from, let to): Self.problem(name: from) ?? Self.problem(name: to)
        case .rollback(let version): version.fitsCatalog ? nil : "version \(version) is out of range"
        case .setEntries(let task, let start, let end, let entries):
            Self.problem(task: task, start: start, end: end, entries: entries)
        case .createObject, .renameObject, .resizeObject, .deleteObject, .deleteTask: nil
        }
    }

    private static func problem(name: String) -> String? {
        if name.isEmpty { return "a name is empty" }
        return name.utf8.contains(0) ? "a name holds a zero byte" : nil
    }

    private static func problem(task: TaskID, start: UInt64, end: UInt64, entries: [CatalogEntry]) -> String? {
        guard start <= end else { return "the range \(hex(start))..<\(hex(end)) is reversed" }
        var past = start
        for entry in entries.sorted(by: { $0.start < $1.start }) {
            let place = "the entry \(hex(entry.start))..<\(hex(entry.end)) of \(task)"
            if entry.task != task { return "\(place) is of \(entry.task)" }
            if Page.trunc(entry.start) != entry.start || Page.trunc(entry.end) != entry.end {
                return "\(place) is not page-aligned"
            }
            if entry.start >= entry.end { return "\(place) is empty" }
            if entry.start < past { return "\(place) overlaps another, or begins before its range" }
            if entry.end > end { return "\(place) ends after its range" }
            if !entry.current.isWellFormed || !entry.maximum.isWellFormed {
                return "\(place) has a malformed protection"
            }
            past = entry.end
        }
        return nil
    }
}

/// `value` as people write addresses.
func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
