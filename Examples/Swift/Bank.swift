import Foundation
import Varve

/// Accounts whose money only moves: whatever happens to the process, their sum stays the same.
struct Bank {
    struct Account: Persistable {
        var number: Int
        /// In cents; never below 0.
        var balance: Int
    }

    struct Refused: Error {}

    let heap: PersistentHeap
    let accounts: PersistentArray<Account>
    /// Transfers that were made, ever.
    let transfers: Root<Int>

    static let size = 100
    static let openingBalance = 1_000_00

    init(_ path: String) throws {
        heap = try PersistentHeap.open(path)
        accounts = try heap.root("accounts")
        transfers = try heap.root("transfers", default: 0)
        if accounts.isEmpty {
            for number in 0..<Bank.size { try accounts.append(Account(number: number, balance: Bank.openingBalance)) }
        }
        try heap.commit(message: "open the bank")
    }

    /// Moves money, or throws and moves none.
    func transfer(_ amount: Int, from: Int, to: Int) throws {
        try heap.transaction(durability: .deferred) {
            accounts[from].balance -= amount
            accounts[to].balance += amount
            transfers.value += 1
            guard accounts[from].balance >= 0 else { throw Refused() }
        }
    }

    /// What must hold after any crash.
    var isSound: Bool {
        accounts.reduce(0) { $0 + $1.balance } == Bank.size * Bank.openingBalance && accounts.allSatisfy { $0.balance >= 0 }
    }
}

extension Bank {
    /// Transfers until somebody ends the process; says now and then how many there were.
    func run() throws {
        while true {
            try? transfer(.random(in: 1...500_00), from: .random(in: 0..<Bank.size), to: .random(in: 0..<Bank.size))
            if transfers.value % 50 == 0 {
                print(transfers.value)
                fflush(nil)
            }
        }
    }
}
