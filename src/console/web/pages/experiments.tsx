import { Empty } from '../parts.tsx';
export function ExperimentsPage() {
  return (
    <>
      <h1>Experiments</h1>
      <Empty title="No experiment yet" />
    </>
  );
}
