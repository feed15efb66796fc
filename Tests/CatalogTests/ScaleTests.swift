import Testing
import VMTypes

@testable import Catalog

@Suite struct ScaleTests {
    @Test func aHundredThousandObjectsAreFoundQuickly() throws {
        let f = try Fixture()
        let changes = (1...100_000 as ClosedRange<UInt64>).map {
            CatalogChange.createObject(id: ObjectID($0), name: "object \($0)", size: $0, residency: 0)
        }
        let clock = ContinuousClock()
        let applied = try clock.measure {
            try f.catalog.apply([CatalogCommit(version: Version(1), time: 0, changes: changes)])
        }
        var missed = 0
        let looked = try clock.measure {
            for n in stride(from: 1, through: 100_000, by: 100) as StrideThrough<UInt64> {
                let named = try f.catalog.object(named: "object \(n)")
                let numbered = try f.catalog.object(id: ObjectID(n))
                if named?.id != ObjectID(n) || numbered?.size != n { missed += 1 }
            }
        }
        #expect(missed == 0)
        #expect(looked < .seconds(20), "2,000 look-ups took \(looked); applying took \(applied)")
        #expect(try f.catalog.objects().count == 100_000)
    }
}
