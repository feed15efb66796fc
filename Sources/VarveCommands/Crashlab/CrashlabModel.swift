internal import Varve

/// What a store of the lab holds, in plain values: the objects, the regions of one task, the words of one heap.
struct CrashlabState: Equatable {
    /// An object's length in pages, and the seed of each page that is not zeros.
    struct Object: Equatable {
        var pageCount: Int
        var pages: [Int: UInt64] = [:]
        /// Another one for each object that was ever made.
        var identity = 0

        mutating func resize(to count: Int) {
            pageCount = count
            pages = pages.filter { $0.key < count }
        }
    }

    /// A region of the task, which begins at its slot.
    struct Region: Equatable {
        /// The object that it shows; nil: memory of its own.
        var object: String?
        var memory = Object(pageCount: 0)
        var isReadOnly = false
    }

    var objects: [String: Object] = [:]
    var regions: [Int: Region] = [:]
    var words: [Int: Int] = [:]

    func content(of region: Region) -> Object { region.object.flatMap { objects[$0] } ?? region.memory }
    func isMapped(_ name: String) -> Bool { regions.values.contains { $0.object == name } }
}

/// What the operations of a seed lead to, one after the other; the same in the process that performs them and in the one that
/// checks what a crash left of them.
struct CrashlabModel {
    struct Snapshot {
        var object: String?
        var state: CrashlabState
    }

    static let stepCount = 40
    static let slotBytes: UInt64 = 1 << 20
    static let slotCount = 6
    /// A commit of more is larger than a third of the smallest ring.
    static let largestObject = 48

    var state = CrashlabState()
    var snapshots: [String: Snapshot] = [:]
    /// Copies of the store, and files that objects were exported to, by their names in the lab's folder.
    var backups: [String: CrashlabState] = [:]
    var exports: [String: CrashlabState.Object] = [:]
    private var names = 0
    private var seeds: UInt64 = 0
    private var identities = 0

    /// What is there when the work proper begins.
    init() {
        state.objects["first"] = .init(pageCount: 12)
        state.regions[0] = .init(object: "first")
    }

    /// A model of which only the state is of interest.
    init(_ state: CrashlabState, _ snapshots: [String: Snapshot]) {
        self.state = state
        self.snapshots = snapshots
    }

    /// One step of the work: at most one commit.
    enum Step {
        case store([(slot: Int, page: Int, seed: UInt64)], isDeferred: Bool)
        case change([(key: Int, value: Int?)], inTransaction: Bool, isDeferred: Bool)
        case create(String, pages: Int)
        case write(String, page: Int, seeds: [UInt64])
        case delete(String)
        case rename(String, to: String)
        case resize(String, pages: Int)
        case snapshot(String, of: String?)
        case deleteSnapshot(String)
        case renameSnapshot(String, to: String)
        case rollBack(String, to: String)
        case clone(String, at: String?, as: String)
        case map(slot: Int, String)
        case copy(slot: Int, String)
        case allocate(slot: Int, seeds: [UInt64])
        case unmap(slot: Int)
        case protect(slot: Int, isReadOnly: Bool)
        case flush
        case reclaim
        case optimize(String)
        case backUp(to: String)
        case export(String, to: String)
        case importFile(String, as: String)
        /// Closing and opening; the whole store goes back to a snapshot in between.
        case reopen(rollBackTo: String?)
    }

    /// The next step that `random` chooses.
    mutating func next(_ random: inout some RandomNumberGenerator) -> Step {
        while true { if let step = propose(&random) { return step } }
    }

    private mutating func newName(_ prefix: String) -> String {
        names += 1
        return "\(prefix)\(names)"
    }

    private mutating func newSeed() -> UInt64 {
        seeds += 1
        return seeds << 8 | (1 + seeds % 255)
    }

    private mutating func propose(_ random: inout some RandomNumberGenerator) -> Step? {
        let names = state.objects.keys.sorted()
        let unmapped = names.filter { !state.isMapped($0) }
        let writable = state.regions.filter { !$0.value.isReadOnly && state.content(of: $0.value).pageCount > 0 }.keys.sorted()
        let slot = Int.random(in: 1..<Self.slotCount, using: &random)
        let isDeferred = Bool.random(using: &random)
        switch Int.random(in: 0..<41, using: &random) {
        case 0..<9:
            guard !writable.isEmpty else { return nil }
            let count = [1, 2, 3, 8, 24, 60].randomElement(using: &random)!
            var writes: [(slot: Int, page: Int, seed: UInt64)] = []
            for _ in 0..<count {
                let slot = writable.randomElement(using: &random)!
                let page = Int.random(in: 0..<state.content(of: state.regions[slot]!).pageCount, using: &random)
                writes.append((slot, page, newSeed()))
            }
            return .store(writes, isDeferred: isDeferred)
        case 9..<15:
            let changes = (0..<[1, 3, 40].randomElement(using: &random)!).map { _ -> (key: Int, value: Int?) in
                (Int.random(in: 0..<200, using: &random), Int.random(in: 0..<4, using: &random) == 0 ? nil : Int(newSeed()))
            }
            return .change(changes, inTransaction: Bool.random(using: &random), isDeferred: isDeferred)
        case 15:
            guard names.count < 6 else { return nil }
            return .create(newName("object"), pages: Int.random(in: 1...Self.largestObject, using: &random))
        case 16, 17:
            guard let name = unmapped.randomElement(using: &random) else { return nil }
            let all = state.objects[name]!.pageCount
            let page = Int.random(in: 0..<all, using: &random)
            return .write(name, page: page, seeds: (page..<Int.random(in: page + 1...all, using: &random)).map { _ in newSeed() })
        case 18: return unmapped.randomElement(using: &random).map { .delete($0) }
        case 19: return names.randomElement(using: &random).map { .rename($0, to: newName("object")) }
        case 20:
            return unmapped.randomElement(using: &random).map {
                .resize($0, pages: Int.random(in: 1...Self.largestObject, using: &random))
            }
        case 21, 22:
            guard snapshots.count < 5 else { return nil }
            return .snapshot(newName("snapshot"), of: Bool.random(using: &random) ? nil : names.randomElement(using: &random))
        case 23: return snapshots.keys.sorted().randomElement(using: &random).map { .deleteSnapshot($0) }
        case 24: return snapshots.keys.sorted().randomElement(using: &random).map { .renameSnapshot($0, to: newName("snapshot")) }
        case 25:
            guard let snapshot = snapshots.keys.sorted().randomElement(using: &random),
                let name = (snapshots[snapshot]!.object ?? names.randomElement(using: &random)), let object = state.objects[name],
                let old = snapshots[snapshot]!.state.objects[name], old.identity == object.identity,
                old.pageCount == object.pageCount || !state.isMapped(name)
            else { return nil }
            return .rollBack(name, to: snapshot)
        case 26:
            guard names.count < 6 else { return nil }
            if let snapshot = snapshots.keys.sorted().randomElement(using: &random), Bool.random(using: &random) {
                let past = snapshots[snapshot]!
                guard let name = past.object ?? past.state.objects.keys.sorted().randomElement(using: &random) else { return nil }
                return .clone(name, at: snapshot, as: newName("object"))
            }
            return names.randomElement(using: &random).map { .clone($0, at: nil, as: newName("object")) }
        case 27, 28:
            guard state.regions[slot] == nil, let name = names.randomElement(using: &random) else { return nil }
            return .map(slot: slot, name)
        case 29:
            guard state.regions[slot] == nil, let name = names.randomElement(using: &random) else { return nil }
            return .copy(slot: slot, name)
        case 30:
            guard state.regions[slot] == nil else { return nil }
            return .allocate(slot: slot, seeds: (0..<Int.random(in: 1...6, using: &random)).map { _ in newSeed() })
        case 31: return state.regions[slot] == nil ? nil : .unmap(slot: slot)
        case 32: return state.regions[slot].map { .protect(slot: slot, isReadOnly: !$0.isReadOnly) }
        case 33: return .flush
        case 34, 35: return .reclaim
        case 36: return names.randomElement(using: &random).map { .optimize($0) }
        case 37: return backups.isEmpty ? .backUp(to: newName("backup")) : nil
        case 38: return names.randomElement(using: &random).map { .export($0, to: newName("export")) }
        case 39:
            guard names.count < 6, let file = exports.keys.sorted().randomElement(using: &random) else { return nil }
            return .importFile(file, as: newName("object"))
        default:
            let whole = snapshots.filter { $0.value.object == nil }.keys.sorted()
            return .reopen(rollBackTo: Bool.random(using: &random) ? whole.randomElement(using: &random) : nil)
        }
    }

    private mutating func newIdentity() -> Int {
        identities += 1
        return identities
    }

    /// What a process commits that comes after a crash: a page and a word each time, others after each version that it found.
    static let extraCount = 4
    static func extraPage(_ number: Int) -> Int { number % 3 }
    static func extraSeed(_ number: Int, after found: Version) -> UInt64 { 0xabcd << 40 | found.rawValue << 8 | UInt64(number) }
    static func extraKey(_ number: Int) -> Int { 2000 + number }

    mutating func applyExtra(_ number: Int, after found: Version) {
        state.objects[state.regions[0]!.object!]!.pages[Self.extraPage(number)] = Self.extraSeed(number, after: found)
        state.words[Self.extraKey(number)] = Int(Self.extraSeed(number, after: found))
    }

    /// What holds after a step.
    mutating func apply(_ step: Step) {
        switch step {
        case .store(let writes, _):
            for (slot, page, seed) in writes {
                if let name = state.regions[slot]!.object { state.objects[name]!.pages[page] = seed } else {
                    state.regions[slot]!.memory.pages[page] = seed
                }
            }
        case .change(let changes, _, _): for (key, value) in changes { state.words[key] = value }
        case .create(let name, let count): state.objects[name] = .init(pageCount: count, identity: newIdentity())
        case .write(let name, let page, let seeds):
            for (index, seed) in seeds.enumerated() { state.objects[name]!.pages[page + index] = seed }
        case .delete(let name): state.objects[name] = nil
        case .rename(let name, let new):
            state.objects[new] = state.objects.removeValue(forKey: name)
            for slot in state.regions.keys where state.regions[slot]!.object == name { state.regions[slot]!.object = new }
        case .resize(let name, let count): state.objects[name]!.resize(to: count)
        case .snapshot(let name, let object): snapshots[name] = Snapshot(object: object, state: state)
        case .deleteSnapshot(let name): snapshots[name] = nil
        case .renameSnapshot(let name, let new): snapshots[new] = snapshots.removeValue(forKey: name)
        case .rollBack(let name, let snapshot): state.objects[name] = snapshots[snapshot]!.state.objects[name]
        case .clone(let name, let snapshot, let new):
            state.objects[new] = (snapshot.map { snapshots[$0]!.state } ?? state).objects[name]
            state.objects[new]!.identity = newIdentity()
        case .map(let slot, let name): state.regions[slot] = .init(object: name)
        case .copy(let slot, let name): state.regions[slot] = .init(object: nil, memory: state.objects[name]!)
        case .allocate(let slot, let seeds):
            var memory = CrashlabState.Object(pageCount: seeds.count)
            for (page, seed) in seeds.enumerated() { memory.pages[page] = seed }
            state.regions[slot] = .init(object: nil, memory: memory)
        case .unmap(let slot): state.regions[slot] = nil
        case .protect(let slot, let isReadOnly): state.regions[slot]!.isReadOnly = isReadOnly
        case .flush, .reclaim, .optimize, .reopen(rollBackTo: nil): break
        case .backUp(let name): backups[name] = state
        case .export(let name, let file): exports[file] = state.objects[name]
        case .importFile(let file, let name):
            state.objects[name] = exports[file]
            state.objects[name]!.identity = newIdentity()
        case .reopen(rollBackTo: let snapshot?):
            let living = Set(state.objects.values.map(\.identity))
            state = snapshots[snapshot]!.state
            // What had been deleted comes back as another object.
            for name in state.objects.keys.sorted() where !living.contains(state.objects[name]!.identity) {
                state.objects[name]!.identity = newIdentity()
            }
        }
    }
}
