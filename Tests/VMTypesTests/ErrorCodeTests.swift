import Testing
import VMTypes

/// The numbers that callers in C, and what they keep, rely on.
@Suite struct ErrorCodeTests {
    @Test(arguments: [
        (0, "SUCCESS", .success), (1, "INVALID_ADDRESS", .invalidAddress), (2, "PROTECTION_FAILURE", .protectionFailure),
        (3, "NO_SPACE", .noSpace), (4, "INVALID_ARGUMENT", .invalidArgument), (5, "FAILURE", .failure),
        (6, "RESOURCE_SHORTAGE", .resourceShortage), (8, "NO_ACCESS", .noAccess), (9, "MEMORY_FAILURE", .memoryFailure),
        (10, "MEMORY_ERROR", .memoryError), (13, "NAME_EXISTS", .nameExists), (15, "INVALID_NAME", .invalidName),
        (16, "INVALID_TASK", .invalidTask), (17, "INVALID_RIGHT", .invalidRight), (18, "INVALID_VALUE", .invalidValue),
        (20, "INVALID_CAPABILITY", .invalidCapability), (29, "INVALID_OBJECT", .invalidObject), (37, "TERMINATED", .terminated),
        (46, "NOT_SUPPORTED", .notSupported), (49, "OPERATION_TIMED_OUT", .operationTimedOut),
    ] as [(Int32, String, KernReturn)])
    func errorCodesHaveTheseNumbersAndNames(number: Int32, name: String, code: KernReturn) {
        #expect(code.rawValue == number && code.description == name)
    }

    @Test func protectionsAndInheritancesHaveTheseNumbers() {
        #expect([Protection.read, .write, .execute, .default, .all, .none].map(\.rawValue) == [1, 2, 4, 3, 7, 0])
        #expect([Inheritance.share, .copy, .none].map(\.rawValue) == [0, 1, 2])
        for number: Int32 in [-1, 3, .min, .max] { #expect(Inheritance(rawValue: number) == nil) }
    }

    @Test func protectionBitsOutsideSevenAreMalformed() {
        for bits: Int32 in -64..<64 { #expect(Protection(rawValue: bits).isWellFormed == (0..<8).contains(bits), "\(bits)") }
        for bits in [Int32.min, .max, 1 << 30] { #expect(!Protection(rawValue: bits).isWellFormed) }
    }
}
