import Varve

/// What a model's call answers other than success.
struct Refusal: Error {
    var code: KernReturn
    init(_ code: KernReturn) { self.code = code }
}

/// Tasks, objects and memory entries by the rules of the calls, in the most obvious way: bytes are arrays, maps are looked
/// at page by page, and the last commit is a copy of everything.
struct VMModel {
    struct Object: Equatable {
        /// Whole pages; what lies past `size` is never written.
        var bytes: [UInt8]
        var size: Int
        var name: String?
        /// Made by copying.
        var isCopy = false
        /// By page: the committed bytes of the memory that vm_copy put it in the place of, as long as no commit has made it.
        var beneath: [UInt64: [UInt8]]?

        init(size: Int, name: String? = nil) {
            bytes = [UInt8](repeating: 0, count: (size + 4095) / 4096 * 4096)
            self.size = size
            self.name = name
        }

        var livePages: UInt64 { UInt64(bytes.count / 4096) }
    }

    /// A page of a task.
    struct Slot: Equatable {
        var object: Int
        /// Of the object.
        var page: UInt64
        var current: Protection
        var maximum: Protection
        var inheritance: Inheritance
        var copied: Bool
        var wired = 0
    }

    struct Task: Equatable {
        /// Tells tasks of one name apart.
        var number: Int
        var base: UInt64
        /// By the number of the page: address / 4096.
        var map: [UInt64: Slot] = [:]
    }

    /// The longest run of pages with equal attributes that go on in one object.
    struct Region: Equatable {
        var start: UInt64
        var end: UInt64
        var slot: Slot
    }

    struct Image: Equatable {
        var objects: [Int: Object] = [:]
        var tasks: [String: Task] = [:]
    }

    /// A page of an object, of a run that a call takes as one.
    typealias Page = (object: Int, page: UInt64, piece: Int)

    /// A handle to memory.
    struct Entry {
        var pages: [Page]
        var permission: Protection
    }

    static let windowSize: UInt64 = 64 << 30

    let firstWindow: UInt64
    var committed = Image()
    var working = Image()
    var attached: Set<String> = []
    var entries: [Int: Entry] = [:]
    /// Entries that are let go of, and that the next commit hears of.
    var released: [Entry] = []
    var snapshots: [String: [String: [UInt8]]] = [:]
    /// Objects that this process deleted.
    var deletions = 0
    private(set) var numbers = 0

    init(firstWindow: UInt64) { self.firstWindow = firstWindow }

    mutating func number() -> Int {
        numbers += 1
        return numbers
    }

    // MARK: Regions

    func regions(of task: String) -> [Region] {
        var found: [Region] = []
        guard let map = working.tasks[task]?.map else { return [] }
        for page in map.keys.sorted() {
            let slot = map[page]!
            if let last = found.last, last.end == page << 12, Self.continues(last, slot) {
                found[found.count - 1].end = (page + 1) << 12
            } else {
                found.append(Region(start: page << 12, end: (page + 1) << 12, slot: slot))
            }
        }
        return found
    }

    private static func continues(_ region: Region, _ slot: Slot) -> Bool {
        var next = region.slot
        next.page += (region.end - region.start) >> 12
        return next == slot
    }

    /// Whether something else shows one of the region's pages.
    func isShared(_ region: Region, in task: String) -> Bool {
        let held = entries.values.contains { $0.pages.contains { $0.object == region.slot.object } }
            || released.contains { $0.pages.contains { $0.object == region.slot.object } }
        if held { return true }
        let pages = region.slot.page..<region.slot.page + (region.end - region.start) >> 12
        for name in attached {
            for (page, slot) in working.tasks[name]!.map where slot.object == region.slot.object && pages.contains(slot.page) {
                if name != task || page << 12 < region.start || page << 12 >= region.end { return true }
            }
        }
        return false
    }

    func isMapped(_ object: Int, in image: Image, onlyAttached: Bool) -> Bool {
        image.tasks.contains { name, task in
            (!onlyAttached || attached.contains(name)) && task.map.values.contains { $0.object == object }
        }
    }

    // MARK: The store

    var named: [Int] { committed.objects.keys.filter { committed.objects[$0]!.name != nil }.sorted() }

    mutating func commit() {
        released = []
        let held = Set(entries.values.flatMap { $0.pages.map(\.object) })
        working.objects = working.objects.filter { key, object in
            object.name != nil || held.contains(key) || isMapped(key, in: working, onlyAttached: false)
        }
        for key in working.objects.keys { working.objects[key]!.beneath = nil }
        committed = working
    }

    mutating func abandon() {
        let unsaved = working.tasks.filter { committed.tasks[$0.key] == nil && attached.contains($0.key) }
        // Of a saved task that was terminated only the name is left; one made since of that name goes.
        attached = attached.filter { committed.tasks[$0] == nil || committed.tasks[$0]!.number == working.tasks[$0]!.number }
        let before = working
        working = committed
        for (name, task) in unsaved { working.tasks[name] = Task(number: task.number, base: task.base) }
        // Wiring is no part of a commit; memory that comes back is not wired.
        for (name, task) in working.tasks {
            for (page, slot) in task.map {
                let old = before.tasks[name]?.map[page]
                let stays = attached.contains(name) && old?.object == slot.object && old?.page == slot.page
                working.tasks[name]!.map[page]!.wired = stays ? old!.wired : 0
            }
        }
    }

    /// The process ends, whatever way.
    mutating func close() {
        deletions = 0
        attached = []
        entries = [:]
        released = []
        working = committed
        for (name, task) in working.tasks { for page in task.map.keys { working.tasks[name]!.map[page]!.wired = 0 } }
        committed = working
    }

    /// What a commit of its own does, beside what memory holds.
    mutating func set(_ object: Object?, at key: Int) {
        committed.objects[key] = object
        working.objects[key] = object
    }

    /// The first window above all others.
    var nextWindow: UInt64 {
        let bases = (Array(committed.tasks.values) + Array(working.tasks.values)).map { $0.base + Self.windowSize }
        return bases.max().map { max($0, firstWindow) } ?? firstWindow
    }
}
