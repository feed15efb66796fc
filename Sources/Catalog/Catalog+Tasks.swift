internal import GRDB
public import VMTypes

extension Catalog {
    /// The tasks that exist at `version`, by number.
    public func tasks(at version: Version = .infinity) throws(StoreError) -> [CatalogTask] {
        let moment = StoredVersion.moment(version)
        let found = try read("read the tasks") { db in
            try db.list(CatalogSQL.tasks, [moment, moment], CatalogTask.init(row:))
        }
        return found.sorted { $0.id < $1.id }
    }

    /// The task called `name` at `version`, or nil.
    public func task(named name: String, at version: Version = .infinity) throws(StoreError) -> CatalogTask? {
        let moment = StoredVersion.moment(version)
        return try read("look up the task \(name)") { db in
            try db.first(CatalogSQL.taskByName, [name, moment, moment], CatalogTask.init(row:))
        }
    }

    /// The task numbered `id` as it is at `version`, or nil.
    public func task(id: TaskID, at version: Version = .infinity) throws(StoreError) -> CatalogTask? {
        let moment = StoredVersion.moment(version)
        return try read("look up \(id)") { db in
            try db.first(CatalogSQL.taskByID, [StoredInteger(id), moment]) { row in
                try row.integer(5) > moment ? CatalogTask(row: row) : nil
            } ?? nil
        }
    }

    /// The map of `task` at `version`, by address.
    public func entries(of task: TaskID, at version: Version = .infinity) throws(StoreError) -> [CatalogEntry] {
        let moment = StoredVersion.moment(version)
        let found = try read("read the map of \(task)") { db in
            try db.list(CatalogSQL.entries, [StoredInteger(task), moment, moment], CatalogEntry.init(row:))
        }
        return found.sorted { $0.start < $1.start }
    }

    /// The entries of all live tasks that show `object`.
    public func entries(showing object: ObjectID) throws(StoreError) -> [CatalogEntry] {
        try read("look up who maps \(object)") { db in
            try db.list(CatalogSQL.entriesOfObject, [StoredInteger(object)], CatalogEntry.init(row:))
        }
    }
}

extension CatalogTask {
    /// From a row of `CatalogSQL.taskColumns`.
    init(row: CheckedRow) throws {
        self.init(
            id: TaskID(try row.word(0)), name: try row.text(1), windowBase: try row.word(2),
            windowSize: try row.word(3), since: try row.version(4))
    }
}

extension CatalogEntry {
    /// From a row of `CatalogSQL.entryColumns`.
    init(row: CheckedRow) throws {
        guard let inheritance = Inheritance(rawValue: try row.integer(7, as: Int32.self)) else { throw row.fault(7) }
        self.init(
            task: TaskID(try row.word(0)), start: try row.word(1), end: try row.word(2),
            object: try row.optionalWord(3).map { ObjectID($0) }, offset: try row.word(4),
            current: Protection(rawValue: try row.integer(5, as: Int32.self)),
            maximum: Protection(rawValue: try row.integer(6, as: Int32.self)),
            inheritance: inheritance, copied: try row.integer(8) != 0)
    }
}
