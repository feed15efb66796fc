import Varve

/// The code of the tutorial in Sources/Varve/Varve.docc, word for word, so that it compiles and does what the text says.
enum Tutorial {
    static func counter() throws {
        let heap = try PersistentHeap.open("counter.varve")
        let n = try heap.root("n", of: Int.self, default: 0)
        n.value += 1
        try heap.commit()
        print("counted \(n.value)")
        try heap.close()
    }

    struct Species: Persistable {
        var id: Int
        var wingspan: Double
        var isProtected: Bool
    }

    static func sightings() throws {
        let heap = try PersistentHeap.open("birds.varve")

        // A value of your own under a name.
        let latest = try heap.root("latest", default: Species(id: 0, wingspan: 0, isProtected: false))
        latest.value = Species(id: 7, wingspan: 2.4, isProtected: true)

        // Collections: values of these types show what lies in the heap.
        let names: PersistentDictionary<Int, String> = try heap.root("names")
        let seen: PersistentDictionary<Int, PersistentArray<String>> = try heap.root("seen")
        names[7] = "crane"
        try seen.collection(forKey: 7).append("by the lake")
        try heap.commit(message: "the first crane", snapshot: "morning")

        // All of it, or nothing.
        struct Unknown: Error {}
        func see(_ id: Int, _ place: String) throws {
            try heap.transaction(message: "a sighting") {
                try seen.collection(forKey: id).append(place)
                guard names[id] != nil else { throw Unknown() }
            }
        }
        try see(7, "on the field")
        try? see(8, "nowhere")
        print(seen[7].map(Array.init) ?? [], seen[8] == nil)

        // The heap as it was, while it goes on.
        let before = try heap.reading(at: .snapshot("morning")) { past in
            let seen: PersistentDictionary<Int, PersistentArray<String>> = try past.root("seen")
            return seen[7]?.count ?? 0
        }
        print("\(before) in the morning, \(seen[7]?.count ?? 0) now")

        // And back.
        try heap.rollback(to: .snapshot("morning"))
        print("\(seen[7]?.count ?? 0) again")
        try heap.close()
    }

    struct Measured: Persistable {
        var id: Int
        var wingspan: Double
        var isProtected: Bool
        var weight: Double
    }

    static func upgrading() throws {
        let heap = try PersistentHeap.open("birds.varve")
        let latest = try heap.root(
            "latest", of: Measured.self, version: 2, default: Measured(id: 0, wingspan: 0, isProtected: false, weight: 0)
        ) { old in
            let bird = try old.value(as: Species.self)
            return Measured(id: bird.id, wingspan: bird.wingspan, isProtected: bird.isProtected, weight: 0)
        }
        latest.value.weight = 5.5
        try heap.commit()
        print("bird \(latest.value.id) weighs \(latest.value.weight)")
        try heap.close()
    }

    static func run() throws {
        try counter()
        try counter()
        try sightings()
        try upgrading()
    }
}
