import Foundation
import TestSupport
import VMTypes

@testable import Catalog

/// A folder of its own with a new catalog in it; the folder goes with the fixture.
final class Fixture {
    static let storeID: [UInt8] = Array(1...16)
    let folder: String
    let catalog: Catalog
    var path: String { folder + "/catalog.sqlite" }

    init() throws {
        folder = try Self.makeFolder()
        try Catalog.create(path: folder + "/catalog.sqlite", storeID: Self.storeID)
        catalog = try Catalog.open(path: folder + "/catalog.sqlite", storeID: Self.storeID)
    }

    deinit {
        catalog.close()
        try? FileManager.default.removeItem(atPath: folder)
    }

    static func makeFolder() throws -> String {
        let folder = NSTemporaryDirectory() + "/varve-catalog-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        return folder
    }

    /// Applies `changes` as one commit of `version`.
    @discardableResult
    func commit(_ version: UInt64, _ changes: CatalogChange...) throws -> [String] {
        try catalog.apply([CatalogCommit(version: Version(version), time: Double(version), changes: changes)])
    }

    /// Another handle on the same file, with further steps to apply at opening.
    func reopen(
        readOnly: Bool = false, storeID: [UInt8] = Fixture.storeID, adding steps: [String] = []
    ) throws(StoreError) -> Catalog {
        // Of handles that may write there is one at a time; this one rests until it is used again.
        if !readOnly { try catalog.rest() }
        return try UnpairedCatalog(path: path, readOnly: readOnly, schema: Self.schema(adding: steps)).paired(with: storeID)
    }

    static func schema(adding steps: [String]) -> CatalogSchema {
        let later = steps.enumerated().map { (identifier: "V9\($0.offset)_test", sql: $0.element) }
        return CatalogSchema(steps: CatalogSchema.current.steps + later)
    }
}

/// The code of the `StoreError` that `body` throws, or nil where it throws none.
func code(_ body: () throws -> Void) -> StoreError.Code? {
    do {
        try body()
        return nil
    } catch { return (error as? StoreError)?.code }
}

/// An entry over pages, for readable tests.
func entry(
    _ task: UInt64, _ pages: Range<UInt64>, object: UInt64? = nil, base: UInt64 = 0, copied: Bool = false
) -> CatalogEntry {
    CatalogEntry(
        task: TaskID(task), start: base + pages.lowerBound * 4096, end: base + pages.upperBound * 4096,
        object: object.map { ObjectID($0) }, copied: copied)
}
