internal import PageStore
internal import TestSupport
internal import VMTypes

/// Turns steps into commits, by the model alone.
public struct Planner {
    var generator: SeededGenerator
    public static let maximumPages = 60

    public init(_ step: Step) { generator = SeededGenerator(seed: step.seed) }

    public mutating func pick<C: RandomAccessCollection>(_ all: C) -> C.Element? { all.randomElement(using: &generator) }
    public mutating func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &generator) }
    public mutating func chance(_ n: Int) -> Bool { number(1...n) == 1 }

    /// The commit that the step is; nil where it is none, or where the model has nothing for it.
    public mutating func plan(_ kind: Step.Kind, _ model: inout Model) -> CommitPlan? {
        var plan = CommitPlan(state: model.state)
        plan.durability = chance(2) ? .synced : .deferred
        let objects = model.state.keys.sorted()
        switch kind {
        case .write, .writeMany, .writeLarge:
            guard let first = pick(objects) else { return nil }
            var chosen = [first]
            if kind == .writeMany { for _ in 0..<2 { if let more = pick(objects), !chosen.contains(more) { chosen.append(more) } } }
            for id in chosen {
                let count = kind == .writeLarge ? number(20...Self.maximumPages) : number(1...6)
                write(id, count, &plan, &model)
            }
            if chance(12) { snapshot(.infinity, &plan, &model) }
        case .resize:
            guard let id = pick(objects) else { return nil }
            resize(id, to: randomSize(), &plan, &model)
            if chance(2) { write(id, number(1...4), &plan, &model) }
        case .cutAndGrow:
            guard let id = pick(objects), let old = model.state[id] else { return nil }
            let small = number(0...max(old.size, 1))
            resize(id, to: min(small, old.size), &plan, &model)
            let bigger = randomSize()
            if bigger > small { resize(id, to: bigger, &plan, &model) }
            // The bytes that were there before, written again.
            var rewritten: [(Int, PageContent)] = []
            for (page, content) in old.pages.sorted(by: { $0.key < $1.key })
            where page < plan.state[id]!.pageCount && chance(2) { rewritten.append((page, content)) }
            put(id, rewritten, &plan)
        case .create:
            guard objects.count < 8 else { return nil }
            let id = makeID(&model)
            let name = chance(4) ? "" : newName(&model)
            let size = randomSize()
            plan.state[id] = ModelObject(name: name, size: size)
            plan.operations.append(.createObject(id: id, name: name, size: UInt64(size), residency: .shared))
            plan.changed.insert(id)
            if chance(2) { write(id, number(1...5), &plan, &model) }
        case .delete:
            guard objects.count > 1, let id = pick(objects) else { return nil }
            plan.state[id] = nil
            plan.operations.append(.deleteObject(id: id))
        case .rename:
            guard let id = pick(objects) else { return nil }
            let name = newName(&model)
            plan.state[id]!.name = name
            plan.operations.append(.renameObject(id: id, name: name))
        case .snapshot:
            guard model.snapshots.count < 6 else { return nil }
            snapshot(.infinity, &plan, &model)
        case .snapshotPast:
            guard model.snapshots.count < 6, let kept = pick(model.kept()) else { return nil }
            let name = newName(&model)
            plan.operations.append(.createSnapshot(name: name, version: kept.version, object: kept.object, message: "m"))
            plan.made.append((name, kept.version, kept.object))
            guard model.state(at: kept.version) != nil else { return nil }
        case .deleteSnapshot:
            guard let name = pick(model.snapshots.keys.sorted()) else { return nil }
            plan.operations.append(.deleteSnapshot(name: name))
            plan.dropped.append(name)
        case .renameSnapshot:
            guard let name = pick(model.snapshots.keys.sorted()) else { return nil }
            let new = newName(&model)
            plan.operations.append(.renameSnapshot(from: name, to: new))
            plan.renamed.append((name, new))
        case .rollback, .rollbackAndWrite:
            guard let id = pick(objects), let kept = pick(model.kept().filter { $0.object == id }) else { return nil }
            rebase(id, on: kept, &plan)
            if kind == .rollbackAndWrite {
                // Bytes of the state before and after the rollback, among others.
                var pages: [(Int, PageContent)] = []
                for (page, content) in model.state[id]!.pages.sorted(by: { $0.key < $1.key })
                where page < plan.state[id]!.pageCount && chance(2) { pages.append((page, content)) }
                put(id, pages, &plan)
            }
        case .clone:
            guard objects.count < 8, let kept = pick(model.kept()) else { return nil }
            let id = makeID(&model)
            let name = newName(&model)
            plan.operations.append(
                .createObject(id: id, name: name, size: UInt64(kept.content.size), residency: .exclusive))
            plan.state[id] = ModelObject(name: name, size: 0)
            rebase(id, on: kept, &plan)
        case .importPages:
            guard objects.count < 8 else { return nil }
            let id = makeID(&model)
            let size = randomSize()
            plan.state[id] = ModelObject(name: "", size: size)
            plan.operations.append(.createObject(id: id, name: "", size: UInt64(size), residency: .shared))
            plan.isImport = true
            plan.changed.insert(id)
            write(id, number(1...Self.maximumPages), &plan, &model)
        case .mapChanges:
            plan.operations.append(.mapChanges([UInt8](repeating: 7, count: number(0...3000))))
        default: return nil
        }
        return plan
    }

    private mutating func randomSize() -> Int {
        chance(3) ? number(0...Self.maximumPages * Page.size) : number(0...Self.maximumPages) * Page.size
    }

    private mutating func makeID(_ model: inout Model) -> ObjectID {
        defer { model.nextID += 1 }
        return ObjectID(model.nextID)
    }

    private mutating func newName(_ model: inout Model) -> String {
        defer { model.nextName += 1 }
        return "n\(model.nextName)"
    }

    private mutating func snapshot(_ version: Version, _ plan: inout CommitPlan, _ model: inout Model) {
        let name = newName(&model)
        let object = chance(2) ? nil : pick(plan.state.keys.sorted())
        plan.operations.append(.createSnapshot(name: name, version: version, object: object, message: ""))
        plan.made.append((name, version, object))
    }

    private mutating func write(_ id: ObjectID, _ count: Int, _ plan: inout CommitPlan, _ model: inout Model) {
        guard let object = plan.state[id], object.pageCount > 0 else { return }
        var pages: [Int: PageContent] = [:]
        let start = number(0...object.pageCount - 1)
        let isRun = chance(2)
        for i in 0..<count {
            let page = isRun ? start + i : number(0...object.pageCount - 1)
            guard page < object.pageCount else { break }
            switch number(1...10) {
            case 1: pages[page] = .zeros
            case 2: pages[page] = object.content(page)
            case 3...6:
                var content = object.content(page)
                for _ in 0..<number(1...3) {
                    content.lines[number(0...63)] = model.nextSeed
                    model.nextSeed += 1
                }
                pages[page] = content
            default:
                pages[page] = PageContent(seed: model.nextSeed << 8 | UInt64(1 + model.nextSeed % 255))
                model.nextSeed += 1
            }
        }
        put(id, pages.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }, &plan)
    }

    private func put(_ id: ObjectID, _ pages: [(Int, PageContent)], _ plan: inout CommitPlan) {
        guard var object = plan.state[id], !pages.isEmpty else { return }
        var all: [Int: PageContent] = [:]
        let index = plan.layers.firstIndex { $0.object == id }
        if let index { for (page, content) in plan.layers[index].pages { all[page] = content } }
        for (page, content) in pages {
            var content = content
            content.valid = min(content.valid, object.size - page * Page.size)
            if content.isZeros { content = .zeros }
            all[page] = content
            object.pages[page] = content.isZeros ? nil : content
        }
        var layer = index.map { plan.layers[$0] } ?? CommitPlan.Layer(object: id, size: object.size)
        layer.pages = all.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        if let index { plan.layers[index] = layer } else { plan.layers.append(layer) }
        plan.state[id] = object
        plan.changed.insert(id)
    }

    private func resize(_ id: ObjectID, to size: Int, _ plan: inout CommitPlan, _ model: inout Model) {
        guard var object = plan.state[id] else { return }
        let shrinks = size < object.size
        object.resize(to: size)
        plan.state[id] = object
        plan.operations.append(.resizeObject(id: id, size: UInt64(size)))
        plan.changed.insert(id)
        let count = Page.count(forBytes: size)
        var layer = plan.layers.first { $0.object == id } ?? CommitPlan.Layer(object: id, size: size)
        plan.layers.removeAll { $0.object == id }
        layer.size = size
        if shrinks {
            layer.floor = min(layer.floor, UInt32(count))
            layer.pages.removeAll { $0.page >= count }
            // The cut page is written with its new tail of zeros.
            if size % Page.size != 0, !layer.pages.contains(where: { $0.page == count - 1 }) {
                layer.pages.append((count - 1, object.content(count - 1)))
            }
        }
        plan.layers.append(layer)
    }

    private func rebase(_ id: ObjectID, on kept: (object: ObjectID, version: Version, content: ModelObject), _ plan: inout CommitPlan) {
        plan.operations.append(
            .lineage(object: id, source: kept.object, sourceVersion: kept.version, size: UInt64(kept.content.size)))
        plan.state[id]!.size = kept.content.size
        plan.state[id]!.pages = kept.content.pages
    }
}
