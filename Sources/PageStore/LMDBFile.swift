internal import VMTypes
enum LMDBFile { static func check(_ file: File, limit: Int? = nil) throws(StoreError) {} }
