public import PageStore
public import VMTypes

/// Page-aligned memory that plans are committed from.
public final class Scratch {
    let base: UnsafeMutableRawPointer

    public init(pages: Int = 4 * Planner.maximumPages) {
        base = .allocate(byteCount: pages * Page.size, alignment: Page.size)
    }

    deinit { base.deallocate() }

    /// Commits `plan`.
    ///
    /// - Parameter restored: What its rollbacks differ in from the last version.
    public func commit(_ plan: CommitPlan, to store: PageStore, restored: [ObjectComparison] = []) throws(StoreError) -> Version {
        if plan.isImport, case .createObject(let id, _, let size, _)? = plan.operations.first {
            let stage = try store.stage(id)
            for (page, content) in plan.layers.first?.pages ?? [] {
                content.fill(base)
                try stage.add(page: page, base, size: size)
            }
            return try store.commit(stage, size: size, operations: plan.operations, durability: plan.durability)
        }
        var origin = base
        var inputs: [LayerInput] = []
        for layer in plan.layers {
            for (page, content) in layer.pages { content.fill(origin + page * Page.size) }
            inputs.append(
                LayerInput(
                    object: layer.object, size: UInt64(layer.size), floorPage: layer.floor,
                    runs: layer.pages.map { PageRange(start: $0.page, count: 1) }, origin: UnsafeRawPointer(origin)))
            origin = base + inputs.count * Planner.maximumPages * Page.size
        }
        return try store.commit(inputs, operations: plan.operations, durability: plan.durability, restored: restored)
    }
}

/// A difference between a store and the model.
public struct Mismatch: Error, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}

/// Reads views and compares them with the model.
public final class Checker {
    private let bytes = UnsafeMutableRawPointer.allocate(byteCount: (Planner.maximumPages + 2) * Page.size, alignment: Page.size)
    private let expected = UnsafeMutableRawPointer.allocate(byteCount: Page.size, alignment: Page.size)

    public init() {}

    deinit {
        bytes.deallocate()
        expected.deallocate()
    }

    /// Throws where `view` is not `content`, from the first page to two past the last.
    public func check(_ view: ObjectView, _ content: ModelObject, _ what: @autoclosure () -> String) throws {
        guard view.size == UInt64(content.size) else {
            throw Mismatch("\(what()): size \(view.size), not \(content.size)")
        }
        let count = content.pageCount + 2
        try view.read(PageRange(start: 0, count: count), into: bytes)
        for page in 0..<count {
            content.content(page).fill(expected)
            guard compare(bytes + page * Page.size, expected) else {
                let got = (bytes + page * Page.size).load(as: UInt64.self)
                throw Mismatch("\(what()): page \(page) begins with \(got), not \(content.content(page))")
            }
        }
    }

    /// Throws where the store's head, names, snapshots or kept states differ from the model.
    public func check(_ store: PageStore, _ model: Model) throws {
        let live = try store.objects().filter(\.isLive)
        guard live.map(\.id) == model.state.keys.sorted() else {
            throw Mismatch("objects \(live.map(\.id)), not \(model.state.keys.sorted())")
        }
        for info in live {
            let object = model.state[info.id]!
            guard info.name == object.name, info.size == UInt64(object.size) else {
                throw Mismatch("object \(info), not \(object.name), \(object.size)")
            }
            if !object.name.isEmpty, try store.object(named: object.name)?.id != info.id {
                throw Mismatch("'\(object.name)' is not object \(info.id)")
            }
            try check(try store.head(of: info.id), object, "the head of \(info.id)")
        }
        let snapshots = try store.snapshots()
        guard Set(snapshots.map(\.name)) == Set(model.snapshots.keys) else {
            throw Mismatch("snapshots \(snapshots.map(\.name)), not \(model.snapshots.keys.sorted())")
        }
        for info in snapshots {
            let snapshot = model.snapshots[info.name]!
            guard info.version == snapshot.version, info.object == snapshot.object else {
                throw Mismatch("snapshot \(info), not \(snapshot.version), \(String(describing: snapshot.object))")
            }
        }
        for kept in model.kept() {
            let what = "\(kept.object) at \(kept.version)"
            do {
                try check(try store.view(of: kept.object, at: kept.version), kept.content, what)
            } catch let error as StoreError { throw Mismatch("\(what): \(error)") }
        }
    }

    private func compare(_ a: UnsafeRawPointer, _ b: UnsafeRawPointer) -> Bool {
        UnsafeRawBufferPointer(start: a, count: Page.size).elementsEqualFast(UnsafeRawBufferPointer(start: b, count: Page.size))
    }
}
