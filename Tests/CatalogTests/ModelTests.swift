import TestSupport
import Testing
import VMTypes

@testable import Catalog

/// The catalog's state at one version, kept the plain way.
struct Model: Equatable {
    struct Object: Equatable {
        var name: String?
        var size: UInt64
        var residency: UInt8
    }
    var objects: [ObjectID: Object] = [:]
    var tasks: [TaskID: String] = [:]
    var maps: [TaskID: [CatalogEntry]] = [:]
    var snapshots: [String: Version] = [:]

    mutating func perform(_ change: CatalogChange, past: [Model]) {
        switch change {
        case .createObject(let id, let name, let size, let residency):
            objects[id] = Object(name: name, size: size, residency: residency)
        case .renameObject(let id, let name): objects[id]?.name = name
        case .resizeObject(let id, let size): objects[id]?.size = size
        case .deleteObject(let id): objects[id] = nil
        case .createTask(let id, let name, _, _): tasks[id] = name
        case .deleteTask(let id):
            tasks[id] = nil
            maps[id] = nil
        case .setEntries(let task, let start, let end, let entries):
            guard tasks[task] != nil else { return }
            let kept = maps[task, default: []].filter { start >= end || $0.end <= start || $0.start >= end }
            maps[task] = (kept + entries).sorted { $0.start < $1.start }
        case .createSnapshot(let name, let version, _, _): snapshots[name] = version
        case .deleteSnapshot(let name): snapshots[name] = nil
        case .renameSnapshot(let from, let to):
            if let version = snapshots.removeValue(forKey: from) { snapshots[to] = version }
        case .rollback(let version):
            guard version.rawValue < UInt64(past.count) else { return }
            tasks = past[Int(version.rawValue)].tasks
            maps = past[Int(version.rawValue)].maps
        }
    }
}

@Suite struct ModelTests {
    static let high: UInt64 = (1 << 63) - 16 * 4096

    func randomChange(now: UInt64, using random: inout SeededGenerator) -> CatalogChange {
        let id = UInt64.random(in: 1...6, using: &random)
        let object = ObjectID(id == 6 ? .max : id)
        let task = TaskID(UInt64.random(in: 1...3, using: &random))
        let snapshot = "s\(UInt64.random(in: 0...4, using: &random))"
        switch Int.random(in: 0..<20, using: &random) {
        case 0...1: return .createObject(id: object, name: "o\(id)", size: now, residency: UInt8(id))
        case 2: return .renameObject(id: object, name: Bool.random(using: &random) ? nil : "o\(id)-\(now)")
        case 3: return .resizeObject(id: object, size: .random(in: 0 ... .max, using: &random))
        case 4: return .deleteObject(id: object)
        case 5...6: return .createTask(id: task, name: "\(task)", windowBase: Self.high, windowSize: 32 << 12)
        case 7: return .deleteTask(id: task)
        case 8: return .createSnapshot(name: snapshot, version: Version(now - 1), object: nil, message: "")
        case 9: return .deleteSnapshot(name: snapshot)
        case 10: return .renameSnapshot(from: snapshot, to: "s\(UInt64.random(in: 0...4, using: &random))")
        case 11: return .rollback(to: Version(.random(in: 0...now, using: &random)))
        default:
            let cuts = (0..<6).map { _ in UInt64.random(in: 0...32, using: &random) }.sorted()
            var entries: [CatalogEntry] = []
            for (low, top) in zip(cuts, cuts.dropFirst()) where low < top && Bool.random(using: &random) {
                entries.append(
                    entry(task.rawValue, low..<top, object: id % 3 == 0 ? nil : id, base: Self.high, copied: id == 1))
            }
            return .setEntries(
                task: task, start: Self.high + cuts[0] << 12, end: Self.high + cuts[5] << 12,
                entries: entries.shuffled(using: &random))
        }
    }

    func state(of catalog: Catalog, at version: Version) throws -> Model {
        var model = Model()
        for object in try catalog.objects(at: version) {
            model.objects[object.id] = .init(name: object.name, size: object.size, residency: object.residency)
            #expect(try catalog.object(id: object.id, at: version) == object)
            if let name = object.name { #expect(try catalog.object(named: name, at: version) == object) }
        }
        for task in try catalog.tasks(at: version) {
            model.tasks[task.id] = task.name
            #expect(try catalog.task(named: task.name, at: version) == task)
        }
        for task in (1...3).map({ TaskID(UInt64($0)) }) {
            let map = try catalog.entries(of: task, at: version)
            if !map.isEmpty { model.maps[task] = map }
        }
        return model
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64]) func everyVersionReadsAsItWas(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let f = try Fixture()
        var past = [Model()]
        var commits: [CatalogCommit] = []
        for now in 1...60 as ClosedRange<UInt64> {
            let count = Int.random(in: 0...5, using: &random)
            let changes = (0..<count).map { _ in randomChange(now: now, using: &random) }
            var model = past[past.count - 1]
            for change in changes { model.perform(change, past: past) }
            past.append(model)
            let decoded = try CatalogChange.decode(CatalogChange.encode(changes))
            #expect(decoded == changes, "seed \(seed)")
            commits.append(CatalogCommit(version: Version(now), time: Double(now), changes: decoded))
            if Int.random(in: 0..<4, using: &random) == 0 { try f.catalog.apply(commits) }
        }
        try f.catalog.apply(commits)
        func expectPast(_ versions: some Sequence<Int>) throws {
            for version in versions {
                var expected = past[version]
                expected.snapshots = [:]
                expected.maps = expected.maps.filter { !$0.value.isEmpty }
                let found = try state(of: f.catalog, at: Version(UInt64(version)))
                #expect(found == expected, "seed \(seed), version \(version)")
            }
        }
        try expectPast(past.indices)
        let names = Dictionary(uniqueKeysWithValues: try f.catalog.snapshots().map { ($0.name, $0.version) })
        #expect(names == past[60].snapshots, "seed \(seed)")
        #expect(try f.catalog.check() == [], "seed \(seed)")

        try f.catalog.forget(before: Version(40))
        try expectPast(40...60)
        try expectPast(names.values.map { Int($0.rawValue) })
        try f.catalog.apply(commits)
        try expectPast(40...60)
        #expect(try f.catalog.check() == [], "seed \(seed)")
    }
}
