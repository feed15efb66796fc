import Varve

struct Person: Persistable {
    var transfers: Int
}

struct Account: Persistable {                  // numbers, enums, optionals, inline arrays, Refs, and structs of these
    var owner: Ref<Person>
    var balance: Int
}

/// A structure that refers to another, changed in a transaction, and looked at as it was: what README.md shows.
enum Accounts {
    static func run(_ path: String) throws {
        let heap = try PersistentHeap.open(path)
        let ann = try heap.root("ann", default: Person(transfers: 0)).ref
        if try !heap.store.snapshots().contains(where: { $0.name == "monday" }) {
            _ = try heap.root("from", default: Account(owner: ann, balance: 100))
            try heap.commit(snapshot: "monday")
        }
        let from = try heap.root("from", of: Account.self, default: Account(owner: ann, balance: 100))
        try heap.transaction {                         // committed at the end; every byte as it was where it throws
            from.value.balance -= 10
            heap[from.value.owner].transfers += 1
        }
        let before = try heap.reading(at: .snapshot("monday")) { monday in
            try monday.root("from", of: Account.self, default: Account(owner: ann, balance: 0)).value.balance
        }
        print("\(before) on Monday, \(from.value.balance) after \(heap[ann].transfers) transfers")
        try heap.close()
    }
}
