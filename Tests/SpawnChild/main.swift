// A program that a task starts, for the tests of VMTask.spawn.
//
//   varve-spawn-child COMMAND…
//
// Does one command after the other; the first that finds something else than it names ends the program with the command's
// number. Addresses and values are decimal.
//
//   inherit · refused:CODE · expect:ADDRESS:WORD · set:ADDRESS:WORD · hole:ADDRESS · region:ADDRESS:CURRENT:MAXIMUM:INHERITANCE
//   count:REGIONS · commit · say:DESCRIPTOR · hear:DESCRIPTOR
import Glibc
import Varve

alarm(60)
for number in [SIGSEGV, SIGBUS] { signal(number, SIG_DFL) }
var none = rlimit(rlim_cur: 0, rlim_max: 0)
setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)

func complain(_ text: String) {
    let line = Array((text + "\n").utf8)
    _ = write(2, line, line.count)
}

struct Program {
    var inherited: RemoteTask?

    mutating func fulfils(_ command: String) -> Bool {
        let parts = command.split(separator: ":").map(String.init)
        let numbers = parts.dropFirst().map { UInt64($0) ?? 0 }
        switch parts[0] {
        case "inherit":
            do throws(StoreError) { inherited = try RemoteTask.inherited(patience: .seconds(20)) } catch {
                complain("\(error)")
                return false
            }
            return true
        case "refused":
            do throws(StoreError) { _ = try RemoteTask.inherited(patience: .seconds(20)) } catch {
                if error.code.rawValue != parts[1] { complain("\(error)") }
                return error.code.rawValue == parts[1]
            }
            return false
        case "commit":
            do throws(StoreError) { _ = try inherited?.store.commit(message: "by the program") } catch {
                complain("\(error)")
                return false
            }
            return true
        case "say":
            var byte: UInt8 = 1
            return write(Int32(numbers[0]), &byte, 1) == 1
        case "hear":
            var byte: UInt8 = 0
            _ = read(Int32(numbers[0]), &byte, 1)
            return true
        default: break
        }
        guard let task = inherited else { return false }
        switch parts[0] {
        case "expect":
            let found = task.pointer(numbers[0]).load(as: UInt64.self)
            if found != numbers[1] { complain("\(command) is \(found)") }
            return found == numbers[1]
        case "set": task.pointer(numbers[0]).storeBytes(of: numbers[1], as: UInt64.self)
        case "hole": return !task.entries.contains { $0.range.contains(numbers[0]) }
        case "count": return task.entries.count == Int(numbers[0])
        case "region":
            guard let found = task.entries.first(where: { $0.range.contains(numbers[0]) }) else { return false }
            return [found.current.rawValue, found.maximum.rawValue, Int32(found.inheritance.rawValue)] == numbers.dropFirst().map { Int32($0) }
        default: return false
        }
        return true
    }
}

var program = Program()
for (index, command) in CommandLine.arguments.dropFirst().enumerated() where !program.fulfils(command) { exit(Int32(index + 1)) }
exit(0)
