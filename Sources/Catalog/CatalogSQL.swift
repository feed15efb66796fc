/// The queries that must stay quick with a hundred thousand objects; each is answered from an index.
enum CatalogSQL {
    static let objectColumns = "object, name, size, residency, born, died"
    static let taskColumns = "task, name, window_base, window_size, born, died"
    static let entryColumns =
        "task, first, past, object, \"offset\", current, maximum, inheritance, copied, born, died"

    /// The state of an object that was the latest at a version; it may have died by then.
    static let objectByID =
        "SELECT \(objectColumns) FROM objects WHERE object = ? AND born <= ? ORDER BY born DESC LIMIT 1"
    static let objectByName =
        "SELECT \(objectColumns) FROM objects WHERE name = ? AND died > ? AND born <= ? ORDER BY died LIMIT 1"
    static let objects = "SELECT \(objectColumns) FROM objects WHERE died > ? AND born <= ?"

    /// The state of a task that was the latest at a version; it may have died by then.
    static let taskByID = "SELECT \(taskColumns) FROM tasks WHERE task = ? AND born <= ? ORDER BY born DESC LIMIT 1"
    static let taskByName =
        "SELECT \(taskColumns) FROM tasks WHERE name = ? AND died > ? AND born <= ? ORDER BY died LIMIT 1"
    static let tasks = "SELECT \(taskColumns) FROM tasks WHERE died > ? AND born <= ?"

    static let entries = "SELECT \(entryColumns) FROM entries WHERE task = ? AND died > ? AND born <= ?"
    /// The live entries that begin in a range.
    static let entriesFrom =
        "SELECT \(entryColumns) FROM entries WHERE task = ? AND died = \(Int64.max) AND first BETWEEN ? AND ?"
    /// The last live entry that begins in a range.
    static let lastEntryFrom = entriesFrom + " ORDER BY first DESC LIMIT 1"

    /// The live entries that show an object, task by task: past ones are not looked at.
    static let entriesOfObject =
        "SELECT \(entryColumns.split(separator: ", ").map { "e." + $0 }.joined(separator: ", ")) FROM tasks t CROSS JOIN entries e"
        + " ON e.task = t.task AND e.died = \(Int64.max) WHERE t.died = \(Int64.max) AND e.object = ?"

    static let snapshots =
        "SELECT name, version, object, message, time FROM snapshots ORDER BY version, name"
    static let snapshotByName = "SELECT name, version, object, message, time FROM snapshots WHERE name = ?"
    static let log =
        "SELECT version, time, message, pages, bytes, kinds FROM commits WHERE version < ?"
        + " ORDER BY version DESC LIMIT ?"

    /// Every query above that looks something up, for the test that asks SQLite how it answers them.
    static let lookups = [
        objectByID, objectByName, objects, taskByID, taskByName, tasks, entries, entriesFrom, lastEntryFrom,
        entriesOfObject, snapshotByName, log,
    ]
}
