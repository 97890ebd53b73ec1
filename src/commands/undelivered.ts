// Commands of the contract that a later version delivers: they answer with a clear error instead of a pretence.

export const UNDELIVERED_COMMANDS: readonly { readonly name: string; readonly what: string }[] = [
  { name: 'keys', what: 'virtual keys' },
  { name: 'compare', what: 'comparing two engines' },
  { name: 'what-if', what: 'what-if pricing' },
  { name: 'store', what: 'copying and migrating stores' },
];
