internal import GRDB
internal import VMTypes

extension CatalogWriter {
    func createTask(_ id: TaskID, name: String, base: UInt64, size: UInt64) throws {
        try endTask(id)
        try db.run("INSERT OR IGNORE INTO task_numbers (task) VALUES (?)", [StoredInteger(id)])
        try db.run(
            "INSERT INTO tasks (task, born, died, name, window_base, window_size) VALUES (?, ?, ?, ?, ?, ?)",
            [StoredInteger(id), now, StoredVersion.never, name, StoredInteger(base), StoredInteger(size)])
    }

    mutating func deleteTask(_ id: TaskID) throws {
        if try endTask(id) == 0 { note("no \(id) to delete") }
        let key: StatementArguments = [StoredInteger(id), StoredVersion.never, now]
        try db.run("DELETE FROM entries WHERE task = ? AND died = ? AND born = ?", key)
        try db.run("UPDATE entries SET died = ?3 WHERE task = ?1 AND died = ?2", key)
    }

    func isLive(_ id: TaskID) throws -> Bool {
        try db.first(CatalogSQL.taskByID, [StoredInteger(id), StoredVersion.never]) { try $0.integer(5) }
            == StoredVersion.never
    }

    /// Tasks and their entries become what they were at `version`: what was born since ends, and what
    /// ended since is born again.
    func rollback(to version: Version) throws {
        guard version < commit.version else { return }
        let then = StoredVersion.moment(version)
        try rollBack(table: "tasks", columns: "task, name, window_base, window_size", to: then)
        try rollBack(
            table: "entries",
            columns: "task, first, past, object, \"offset\", current, maximum, inheritance, copied", to: then)
    }

    private func rollBack(table: String, columns: String, to then: Int64) throws {
        let all = "task IN (SELECT task FROM task_numbers)"
        let arguments: StatementArguments = [StoredVersion.never, then, now]
        try db.run("DELETE FROM \(table) WHERE \(all) AND died = ?1 AND born > ?2 AND born = ?3", arguments)
        try db.run("UPDATE \(table) SET died = ?3 WHERE \(all) AND died = ?1 AND born > ?2", arguments)
        try db.run(
            """
            INSERT INTO \(table) (\(columns), born, died) SELECT \(columns), ?3, ?1 FROM \(table)
            WHERE \(all) AND died > ?2 AND died < ?1 AND born <= ?2
            """, arguments)
    }

    /// Ends the live state of a task; one that this commit made was never there.
    @discardableResult
    private func endTask(_ id: TaskID) throws -> Int {
        let key: StatementArguments = [StoredInteger(id), StoredVersion.never, now]
        let removed = try db.run("DELETE FROM tasks WHERE task = ? AND died = ? AND born = ?", key)
        return try removed + db.run("UPDATE tasks SET died = ?3 WHERE task = ?1 AND died = ?2", key)
    }
}
