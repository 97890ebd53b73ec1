// The flags of `inferometer report` (contract §2); their meaning and checks live in reports.

export const REPORT_OPTIONS: readonly { readonly flags: string; readonly description: string }[] = [
  { flags: '--month <month>', description: 'a whole month, such as 2026-11' },
  { flags: '--from <instant>', description: 'first day or hour, inclusive' },
  { flags: '--to <instant>', description: 'last day or hour, exclusive' },
  { flags: '--timezone <zone>', description: 'IANA time zone with whole-hour offset (default UTC)' },
  { flags: '--group-by <dimensions>', description: 'team,project,model,deployment,key,costCenter,day,tag:NAME,user' },
  { flags: '--team <team>', description: 'only this team' },
  {
    flags: '--idle <policy>',
    description: 'separate | proportional | even (default separate); reserved comes with a later version',
  },
  { flags: '--basis <basis>', description: 'actual | standard (default actual)' },
  {
    flags: '--format <format>',
    description: 'table | csv | json (default table); html and focus come with a later version',
  },
  { flags: '--json', description: 'same as --format json' },
  { flags: '--focus-version <version>', description: 'FOCUS version; comes with --format focus' },
  { flags: '--out <file>', description: 'write to a file instead of the terminal' },
  {
    flags: '--wait <duration>',
    description: 'wait until the period is settled, such as 30s; exit 1 if it is not by then',
  },
];
