internal import GRDB
internal import VMTypes

/// A row of a query whose columns may be anything: the file may be damaged.
struct CheckedRow {
    let row: Row

    /// Says which column holds something that this module never writes.
    struct Fault: Error {
        let column: String
        let value: String
    }

    func fault(_ column: Int) -> Fault {
        Fault(column: Array(row.columnNames)[column], value: "\(row[column] as DatabaseValue)")
    }

    func integer(_ column: Int) throws -> Int64 {
        guard case .int64(let value) = (row[column] as DatabaseValue).storage else { throw fault(column) }
        return value
    }

    func integer<T: FixedWidthInteger>(_ column: Int, as type: T.Type) throws -> T {
        guard let value = T(exactly: try integer(column)) else { throw fault(column) }
        return value
    }

    func word(_ column: Int) throws -> UInt64 { UInt64(bitPattern: try integer(column)) }

    func optionalWord(_ column: Int) throws -> UInt64? {
        (row[column] as DatabaseValue).isNull ? nil : try word(column)
    }

    func version(_ column: Int) throws -> Version { Version(try integer(column, as: UInt64.self)) }

    func real(_ column: Int) throws -> Double {
        guard case .double(let value) = (row[column] as DatabaseValue).storage else { throw fault(column) }
        return value
    }

    func text(_ column: Int) throws -> String {
        guard case .string(let value) = (row[column] as DatabaseValue).storage else { throw fault(column) }
        return value
    }

    func optionalText(_ column: Int) throws -> String? {
        (row[column] as DatabaseValue).isNull ? nil : try text(column)
    }

    func blob(_ column: Int) throws -> [UInt8] {
        guard case .blob(let value) = (row[column] as DatabaseValue).storage else { throw fault(column) }
        return Array(value)
    }
}

extension Database {
    /// Every row of a query, made into a value.
    func list<T>(_ sql: String, _ arguments: StatementArguments = [], _ make: (CheckedRow) throws -> T) throws -> [T] {
        let rows = try Row.fetchCursor(cachedStatement(sql: sql), arguments: arguments)
        var result: [T] = []
        while let row = try rows.next() { result.append(try make(CheckedRow(row: row))) }
        return result
    }

    /// The first row of a query, made into a value.
    func first<T>(_ sql: String, _ arguments: StatementArguments = [], _ make: (CheckedRow) throws -> T) throws -> T? {
        let rows = try Row.fetchCursor(cachedStatement(sql: sql), arguments: arguments)
        return try rows.next().map { try make(CheckedRow(row: $0)) }
    }

    /// Runs a statement that returns nothing, and says how many rows it changed.
    @discardableResult
    func run(_ sql: String, _ arguments: StatementArguments = []) throws -> Int {
        try cachedStatement(sql: sql).execute(arguments: arguments)
        return changesCount
    }
}
