internal import GRDB
internal import VMTypes

extension Catalog {
    /// How SQLite answers a query, step by step; a step that begins with SCAN reads a whole table.
    func queryPlan(_ sql: String) throws(StoreError) -> [String] {
        try read("explain a query") { db in
            let count = sql.count(where: { $0 == "?" })
            let nothing = [DatabaseValue](repeating: .null, count: count)
            return try db.list("EXPLAIN QUERY PLAN " + sql, StatementArguments(nothing)) { try $0.text(3) }
        }
    }
}
